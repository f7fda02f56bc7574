"""PaDRe stores in git repositories."""

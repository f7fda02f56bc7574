"""PaDRe over HTTP: the client of a server that a team shares, and what both say to each other."""

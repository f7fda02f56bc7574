"""An HTTP server that shares a PaDRe store with a team."""

__version__ = "0.1.0"

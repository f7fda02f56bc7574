"""PaDRe stores in a folder."""

from padre_file.store import FileStore

__all__ = ["FileStore"]

"""PaDRe stores in buckets, and on any other filesystem that fsspec speaks."""

from padre_cloud.store import CloudStore

__all__ = ["CloudStore"]

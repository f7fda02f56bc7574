"""A branch of a git repository as a byte store."""

from __future__ import annotations

from abc import ABC

from padre_core.backends.bytestore import ByteStore


class GitStore(ByteStore, ABC):
    """The tree of a branch: one git blob for each key."""

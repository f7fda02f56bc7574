"""A repository elsewhere, by a clone of it on this machine."""

from __future__ import annotations

from abc import ABC

from padre_git.store import GitStore


class CloneStore(GitStore, ABC):
    """A local clone that fetches from its origin and pushes to it."""

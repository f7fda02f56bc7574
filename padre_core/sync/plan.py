"""What each call does in each state: the table of local-first, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from padre_core.sync.states import Local, Remote, State


class Action(StrEnum):
    """What is done about one object; the value is how `status` and `--dry-run` say it."""

    NOTHING = "nothing"
    LEARN = "known to be there"
    AGREE = "equal on both sides"
    UPLOAD = "upload"
    UPLOAD_AGAIN = "upload again: the remote has lost it"
    FETCH = "fetch"
    MERGE = "merge"
    BURY_HERE = "delete locally"
    BURY_THERE = "delete on the remote"
    SURVIVE = "the edit survives the delete, upload"
    COME_BACK = "changed since the delete, comes back"

    CREATE = "create"
    CREATE_NEXT = "create, next generation"
    NEW_VERSION = "new local version"
    REVIVE = "revive"

    LOCAL = "local"
    LOCAL_WARNING = "local: the remote has lost what it had"
    LOCAL_CONFLICTS = "local, with conflicts"
    DOWNLOAD = "download"
    NOT_FOUND = "not found"
    NOT_FOUND_RESTORE = "not found: deleted, may be restored"

    BURY = "delete"
    BURY_BOTH = "delete on both sides"
    EVICT = "remove the local copy"
    ONLY_HERE = "kept locally only"

    CHANGED = "refused: changed since it was seen"
    CONFLICTING = "refused: both sides changed"
    LAST_COPY = "refused without force: the last copy"
    NOT_UPLOADED = "refused without force: not uploaded"
    GET_FIRST = "refused: get it first, or force"
    LIVES_THERE = "refused: kept locally only, but lives on the remote"

    def __bool__(self) -> bool:
        return self is not Action.NOTHING


REFUSALS = frozenset({
    Action.CHANGED, Action.CONFLICTING, Action.LAST_COPY, Action.NOT_UPLOADED, Action.GET_FIRST, Action.LIVES_THERE,
})  # fmt: skip

FORCEABLE = frozenset({Action.LAST_COPY, Action.NOT_UPLOADED, Action.GET_FIRST})
"""What `force` overrides."""


@dataclass(frozen=True, slots=True)
class Row:
    """The actions of the calls in one state.

    Attributes:
        sync: In the background, and by `push`, `pull` and `sync` as far as it goes in their direction.
        put: What the local half does; what travels then follows from the new state.
    """

    sync: Action
    put: Action
    get: Action
    delete_all: Action
    delete_remote: Action
    delete_local: Action


_A = Action
_LOCAL_ONLY = Row(_A.NOTHING, _A.NEW_VERSION, _A.LOCAL, _A.BURY, _A.NOTHING, _A.NOT_UPLOADED)
_LOCAL_ONLY_LIVE = Row(_A.NOTHING, _A.NEW_VERSION, _A.LOCAL, _A.LIVES_THERE, _A.LIVES_THERE, _A.NOT_UPLOADED)

TABLE: Mapping[tuple[Local, Remote], Row] = {
    (Local.ABSENT, Remote.ABSENT): Row(
        _A.NOTHING, _A.CREATE, _A.NOT_FOUND, _A.NOTHING, _A.NOTHING, _A.NOTHING),
    (Local.ABSENT, Remote.PRESENT): Row(
        _A.LEARN, _A.CREATE, _A.DOWNLOAD, _A.BURY_THERE, _A.LAST_COPY, _A.NOTHING),
    (Local.ABSENT, Remote.DELETED): Row(
        _A.NOTHING, _A.CREATE_NEXT, _A.NOT_FOUND_RESTORE, _A.NOTHING, _A.NOTHING, _A.NOTHING),
    (Local.CLEAN, Remote.ABSENT): Row(
        _A.UPLOAD_AGAIN, _A.NEW_VERSION, _A.LOCAL_WARNING, _A.BURY, _A.ONLY_HERE, _A.LAST_COPY),
    (Local.CLEAN, Remote.SAME): Row(
        _A.AGREE, _A.NEW_VERSION, _A.LOCAL, _A.BURY_BOTH, _A.BURY_THERE, _A.EVICT),
    (Local.CLEAN, Remote.NEWER): Row(
        _A.FETCH, _A.NEW_VERSION, _A.DOWNLOAD, _A.CHANGED, _A.CHANGED, _A.EVICT),
    (Local.CLEAN, Remote.DELETED): Row(
        _A.BURY_HERE, _A.NEW_VERSION, _A.NOT_FOUND_RESTORE, _A.BURY_HERE, _A.NOTHING, _A.EVICT),
    (Local.CLEAN, Remote.OLDER): Row(
        _A.UPLOAD_AGAIN, _A.NEW_VERSION, _A.LOCAL_WARNING, _A.BURY_BOTH, _A.BURY_THERE, _A.NOT_UPLOADED),
    (Local.CLEAN, Remote.DIVERGED): Row(
        _A.MERGE, _A.NEW_VERSION, _A.LOCAL_CONFLICTS, _A.CONFLICTING, _A.CONFLICTING, _A.CONFLICTING),
    (Local.DIRTY, Remote.ABSENT): Row(
        _A.UPLOAD, _A.NEW_VERSION, _A.LOCAL, _A.BURY, _A.ONLY_HERE, _A.NOT_UPLOADED),
    (Local.DIRTY, Remote.SAME): Row(
        _A.UPLOAD, _A.NEW_VERSION, _A.LOCAL, _A.BURY_BOTH, _A.BURY_THERE, _A.NOT_UPLOADED),
    (Local.DIRTY, Remote.DIVERGED): Row(
        _A.MERGE, _A.NEW_VERSION, _A.LOCAL_CONFLICTS, _A.CONFLICTING, _A.CONFLICTING, _A.CONFLICTING),
    (Local.DIRTY, Remote.DELETED): Row(
        _A.SURVIVE, _A.NEW_VERSION, _A.LOCAL, _A.BURY, _A.ONLY_HERE, _A.NOT_UPLOADED),
    (Local.DELETED, Remote.ABSENT): Row(
        _A.BURY_THERE, _A.CREATE_NEXT, _A.NOT_FOUND_RESTORE, _A.NOTHING, _A.NOTHING, _A.NOTHING),
    (Local.DELETED, Remote.SAME): Row(
        _A.BURY_THERE, _A.REVIVE, _A.NOT_FOUND_RESTORE, _A.NOTHING, _A.BURY_THERE, _A.NOTHING),
    (Local.DELETED, Remote.OLDER): Row(
        _A.BURY_THERE, _A.CREATE_NEXT, _A.NOT_FOUND_RESTORE, _A.NOTHING, _A.BURY_THERE, _A.NOTHING),
    (Local.DELETED, Remote.NEWER): Row(
        _A.COME_BACK, _A.REVIVE, _A.DOWNLOAD, _A.GET_FIRST, _A.GET_FIRST, _A.NOTHING),
    (Local.DELETED, Remote.DELETED): Row(
        _A.AGREE, _A.CREATE_NEXT, _A.NOT_FOUND_RESTORE, _A.NOTHING, _A.NOTHING, _A.NOTHING),
    (Local.LOCAL_ONLY, Remote.ABSENT): _LOCAL_ONLY,
    (Local.LOCAL_ONLY, Remote.DELETED): _LOCAL_ONLY,
    (Local.LOCAL_ONLY, Remote.PRESENT): _LOCAL_ONLY_LIVE,
}  # fmt: skip
"""The rows of a deleted object whose remote is absent or older do what its neighbours do."""


def row(state: State) -> Row:
    """The actions in a state."""
    return TABLE[state.local, state.remote]

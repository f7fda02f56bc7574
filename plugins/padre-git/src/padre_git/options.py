"""What a user chooses when a clone is opened: options, the branch in the URL, and where the clone lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from padre_core.errors import InvalidObjectError, UnsupportedError
from padre_core.places import data_folder
from padre_git.address import Address
from padre_git.transport import MAX_FETCH


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chose; see `CloneBackend`."""

    branch: str | None = None
    clone: str | os.PathLike[str] | None = None
    idle: float = 60.0
    lfs: bool = True
    lfs_url: str | None = None
    linger: float = 1.0
    max_fetch: int = MAX_FETCH
    token: str | None = field(default=None, repr=False)
    user: str | None = None

    @classmethod
    def of(cls, url: str, given: Mapping[str, Any]) -> Options:
        """The options that were given, checked.

        Raises:
            UnsupportedError: There is no such option.
            InvalidObjectError: One is of the wrong type.
        """
        unknown = given.keys() - {item.name for item in fields(cls)}
        if unknown:
            raise UnsupportedError(f"{url}: unknown option {min(unknown)!r} (impossible)")
        made = cls(**given)
        try:
            return replace(made, idle=float(made.idle), linger=float(made.linger), max_fetch=int(made.max_fetch))
        except (TypeError, ValueError):
            raise InvalidObjectError(f"{url}: idle, linger and max_fetch are numbers") from None


def branch_in(query: str) -> str | None:
    """The branch that the query of a URL names."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    branch = options.pop("branch", None)
    if options or (query and branch is None):
        raise InvalidObjectError("the query of a repository's URL may only name a branch, as in ?branch=NAME")
    return branch


def clone_path(address: Address, chosen: object) -> Path:
    """The folder of a clone: the chosen one, or one for each address in the user's data folder."""
    if chosen is not None:
        if not isinstance(chosen, str | os.PathLike):
            raise InvalidObjectError("clone= is the path of a folder")
        return Path(chosen).expanduser().absolute()
    digest = hashlib.sha256(address.url.encode()).hexdigest()[:16]
    return data_folder().absolute() / "git" / f"{address.name}-{digest}.git"

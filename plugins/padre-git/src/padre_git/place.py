"""What a URL of this plugin names: a repository on this machine, and a branch in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

from padre_core.errors import InvalidObjectError

DEFAULT_BRANCH = "padre"

# Stricter than git: each part begins with a letter, a digit or an underscore, so that no branch is taken for an option.
_BRANCH = re.compile(
    r"(?!.*(?:\.\.|\.lock(?:/|$)|\.(?:/|$)))[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A branch of a repository on this machine."""

    path: Path
    branch: str

    @property
    def url(self) -> str:
        """The one URL of this place."""
        query = "" if self.branch == DEFAULT_BRANCH else f"?branch={quote(self.branch, safe='/')}"
        return f"git+{self.path.as_uri()}{query}"


def parse(url: str, branch: str | None = None) -> Place:
    """The place that a URL `git+file:///path[?branch=NAME]` names.

    Args:
        branch: Counts before the one in the URL.

    Raises:
        InvalidObjectError: The URL names no such place.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    path = os.fsdecode(unquote_to_bytes(parts.path))  # names of files need not be UTF-8
    named = branch or options.pop("branch", DEFAULT_BRANCH)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path or options or parts.fragment:
        raise InvalidObjectError(
            f"{url!r:.200} names no repository on this machine: write git+file:///absolute/path[?branch=NAME]"
        )
    return Place(Path(path), check_branch(named))


def check_branch(name: str) -> str:
    """Returns the name of a branch.

    Raises:
        InvalidObjectError: It is none that this plugin uses.
    """
    if len(name) > 200 or not _BRANCH.fullmatch(name):
        raise InvalidObjectError(f"{name!r:.80} is no name for a branch: use letters, digits, '.', '_', '-' and '/'")
    return name

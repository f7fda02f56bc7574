"""What it means that the `git` program failed, by what it and the server said."""

from __future__ import annotations

import re

from padre_core.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    CorruptObjectError,
    NotFoundError,
    PadreError,
    UnavailableError,
)
from padre_git.program import GitFailedError, plain

_SIGN_IN = re.compile(
    r"Authentication failed|could not read (Username|Password)|terminal prompts disabled|Permission denied \("
    r"|error: 401|Host key verification failed|No user authentication methods"
)
_DENIED = re.compile(r"error: 403|denied|not allowed to|insufficient permission", re.IGNORECASE)
_MISSING = re.compile(
    r"not found|does not appear to be a git repo|error: 404|Could not find repository|does not exist", re.IGNORECASE
)
_REDIRECT = re.compile(r"redirect|error: 30[12378]", re.IGNORECASE)
_UNSOUND = re.compile(r"fsck|index-pack|bad object|corrupt|inflate|missing|did not send|unpack", re.IGNORECASE)
_AWAY = re.compile(
    r"Could not resolve|Failed to connect|Couldn't connect|Connection (refused|timed out|reset|closed)|timed out"
    r"|hung up|early EOF|RPC failed|error: 5\d\d|error: 429|unreachable|Empty reply|Operation too slow|SSL|TLS"
    r"|unexpected disconnect|No route to host|transfer closed|certificate",
    re.IGNORECASE,
)
_RACED = re.compile(
    r"non-fast-forward|fetch first|stale info|failed to (lock|update ref)|cannot lock|reference already"
)


class RefusedError(Exception):
    """The branch elsewhere has moved on: fetch, merge, and push again."""


def meaning(error: GitFailedError, url: str) -> PadreError:
    """What a failure is for who wanted something of the repository at a URL."""
    said = _quoted(error.message)
    if _SIGN_IN.search(error.message):
        return AuthenticationError(
            f"{url}: you are not signed in{said}; sign in with git's credential helper or PADRE_GIT_TOKEN, "
            "or for ssh with a key that the server knows"
        )
    if _REDIRECT.search(error.message):
        return BackendError(f"{url} redirects elsewhere, which is not followed{said}; use its new address")
    if _DENIED.search(error.message):
        return AccessDeniedError(f"{url}: you may not do this{said}")
    if _MISSING.search(error.message):
        return NotFoundError(f"{url}: there is no such repository, or you may not see it{said}")
    if _AWAY.search(error.message) or error.code < 0:
        return UnavailableError(f"{url} cannot be reached{said}; what you store is kept here, try again later")
    if _UNSOUND.search(error.message):
        return CorruptObjectError(f"{url} sends what is no sound repository; nothing of it was kept{said}")
    return BackendError(f"{url}: git failed{said}")


def meaning_of_push(error: GitFailedError, url: str, branch: str) -> PadreError | RefusedError:
    """The same of a push, which the other side may have refused in so many words."""
    refusal = _refusal(error.output)
    if refusal is None:
        return meaning(error, url)
    if _RACED.search(refusal):
        return RefusedError(refusal)
    return AccessDeniedError(
        f"{url} does not take the branch {branch}: {refusal}{_quoted(error.message)}; may you push to it, and is it "
        "protected?"
    )


def _refusal(output: bytes) -> str | None:
    """Why the other side refused the branch, as `--porcelain` tells; None if it did not get that far."""
    for line in output.decode(errors="replace").splitlines():
        if line.startswith("!"):
            return plain(line.rpartition("\t")[2])
    return None


def _quoted(message: str) -> str:
    """The lines with which git said why."""
    lines = [line for line in message.splitlines() if not line.startswith("error: failed to push some refs")]
    return f" ({'; '.join(lines[-4:])[:600]})" if lines else ""

"""What the `git` program gets to see: of the user's environment what it needs, and settings that overrule any other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

IDLE = 60.0
"""For how many seconds a program may be silent before it is ended."""

Setting = tuple[str, str]
"""A key of git's configuration, and its value."""

_PROTOCOLS = ("http", "https", "ssh", "git", "file", "ext", "fd", "ftp", "ftps")
_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|XDG_\w+|SSH_AUTH_SOCK|SSH_AGENT_PID|DBUS_SESSION_BUS_ADDRESS|DISPLAY|WAYLAND_DISPLAY"
    r"|GNUPGHOME|KRB5CCNAME|SSL_CERT_FILE|SSL_CERT_DIR|GIT_SSL_CAINFO|GIT_SSL_CAPATH|(?i:(https?|all|no)_proxy)"
)
_FIXED: Sequence[Setting] = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.pager", "cat"),
    ("core.fsync", "all"),
    ("core.alternateRefsCommand", "true"),
    ("credential.interactive", "false"),
    ("fetch.fsckObjects", "true"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("http.followRedirects", "false"),
    ("http.sslVerify", "true"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", str(int(IDLE))),
    ("maintenance.auto", "false"),
    ("protocol.allow", "never"),
    ("protocol.version", "2"),
    ("push.followTags", "false"),
    ("push.recurseSubmodules", "no"),
    ("submodule.recurse", "false"),
    ("transfer.fsckObjects", "true"),
)


def kept() -> dict[str, str]:
    """What programs get of this process's environment: where things are, and how the user signs in."""
    return {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}


def variables(folder: Path, settings: Iterable[Setting], protocols: Iterable[str]) -> dict[str, str]:
    """The environment in which git works on a git directory.

    Args:
        settings: Of git's configuration, stronger than those of the repository.
        protocols: Over which it may transfer.
    """
    allowed = [(f"protocol.{name}.allow", "always" if name in protocols else "never") for name in _PROTOCOLS]
    counted: dict[str, str] = {}
    every = [*_FIXED, *allowed, *settings]
    for place, (key, value) in enumerate(every):
        counted[f"GIT_CONFIG_KEY_{place}"] = key
        counted[f"GIT_CONFIG_VALUE_{place}"] = value
    return {
        **kept(),
        **counted,
        "GIT_CONFIG_COUNT": str(len(every)),
        "GIT_ASKPASS": "",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_DIR": str(folder),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "SSH_ASKPASS_REQUIRE": "never",
    }

"""Options by URL in the user's settings, for commands and remotes, which name a store by its URL alone."""

from __future__ import annotations

import tomllib
from typing import Any

from padre_core.errors import InvalidObjectError
from padre_core.places import settings_folder

FILE = "cloud.toml"
MAX_SIZE = 64 * 1024


def options_of(url: str) -> dict[str, Any]:
    """What `cloud.toml` says of a URL: its tables are named by URLs, and that of the longest one above it counts.

    Raises:
        InvalidObjectError: The file is malformed, or others on this machine may read it.
    """
    file = settings_folder() / FILE
    try:
        with file.open("rb") as opened:
            mode = file.stat().st_mode
            said = tomllib.loads(opened.read(MAX_SIZE).decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidObjectError(f"{file} cannot be read: {type(error).__name__}") from None
    if mode & 0o077:
        raise InvalidObjectError(f"{file} may hold secrets, and others can read it: chmod 600 {file}")
    above = [name for name in said if f"{url}/".startswith(f"{name.rstrip('/')}/")]
    if not above:
        return {}
    found = said[max(above, key=len)]
    if not isinstance(found, dict):
        raise InvalidObjectError(f"{file}: {max(above, key=len)!r:.80} is no table of options")
    return found

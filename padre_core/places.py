"""The user's folders on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """What can be made again, such as indices: `$PADRE_CACHE`, or the system's place for it."""
    return _folder("PADRE_CACHE", "XDG_CACHE_HOME", ".cache", "Caches")


def state_folder() -> Path:
    """What this machine has yet to do, such as points on their way: `$PADRE_STATE`, or the system's place for it."""
    return _folder("PADRE_STATE", "XDG_STATE_HOME", ".local/state", "Application Support")


def data_folder() -> Path:
    """What belongs to the user, such as clones of what is elsewhere: `$PADRE_DATA`, or the system's place for it."""
    return _folder("PADRE_DATA", "XDG_DATA_HOME", ".local/share", "Application Support")


def settings_folder() -> Path:
    """What the user decided, such as remotes: `$PADRE_CONFIG`, or the system's place for it."""
    return _folder("PADRE_CONFIG", "XDG_CONFIG_HOME", ".config", "Application Support")


def _folder(own: str, common: str, usual: str, on_mac: str) -> Path:
    if place := os.environ.get(own):
        return Path(place)
    if place := os.environ.get(common):
        return Path(place) / "padre"
    home = Path.home()
    return (home / "Library" / on_mac if sys.platform == "darwin" else home / usual) / "padre"

"""Finding out whether a provider obeys conditions, for some take a conditional request and write all the same."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from pathlib import Path

from padre_cloud.drivers.base import Driver
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import ConflictError, PadreError, UnsupportedError
from padre_core.places import cache_folder

DAYS = 30
"""How long what was found out holds."""

logger = logging.getLogger(__name__)


def obeys_conditions(driver: Driver) -> bool:
    """Whether writes with `if_match` are safe; asked of the provider once for each place and machine."""
    if not driver.persistent:
        return True
    known = _note(driver)
    if _fresh(known):
        return True
    if not _ask(driver):
        return False
    try:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()
    except OSError as error:
        logger.info("%s cannot be kept: %s", known, error.strerror)
    return True


def obeys_deletes(driver: Driver) -> bool:
    """Whether deletes with a version are safe; asked each time, for hardly anybody deletes."""
    if not driver.conditional:
        return False
    key = f".padre-probe-{secrets.token_hex(8)}"
    version = driver.write(key, b"1")
    try:
        driver.delete(key, _other(version))
    except ConflictError:
        driver.delete(key, version)
        return True
    except PadreError as error:
        logger.info("%s takes no deletes with a condition: %s", driver.place.url, error)
        driver.delete(key)
    return False


def _ask(driver: Driver) -> bool:
    """Breaks each condition once, on a key that listings leave out."""
    key = f".padre-probe-{secrets.token_hex(8)}"
    try:
        version = driver.write(key, b"1", ABSENT)
        return (
            _refuses(driver, key, ABSENT)
            and _refuses(driver, key, _other(version))
            and driver.write(key, b"2", version) != version
        )
    except UnsupportedError:
        return False
    finally:
        try:
            driver.delete(key)
        except PadreError as error:
            logger.info("%s stays in %s: %s", key, driver.place.url, error)


def _refuses(driver: Driver, key: str, condition: object) -> bool:
    try:
        driver.write(key, b"1", condition)  # type: ignore[arg-type]  # ABSENT, or a version
    except ConflictError:
        return True
    return False


def _other(version: str) -> str:
    """A version of the same form that no bytes have."""
    quoted = version.startswith('"')
    digits = version.strip('"')
    other = digits[:-1] + ("0" if digits[-1] != "0" else "1")
    return f'"{other}"' if quoted else other


def _note(driver: Driver) -> Path:
    place = f"{driver.place.scheme}://{driver.place.host} at {driver.endpoint}"
    return cache_folder() / "cloud" / f"conditions-{hashlib.sha256(place.encode()).hexdigest()[:32]}"


def _fresh(note: Path) -> bool:
    try:
        return time.time() - os.stat(note).st_mtime < DAYS * 24 * 3600
    except OSError:
        return False

"""What the operator decides."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from padre_core import InvalidObjectError
from padre_core.places import state_folder

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of anything there may be; what goes beyond is refused, with a time to come again where that helps.

    Attributes:
        connections: Open at once in one process.
        requests: Worked on at once in one process.
        streams: Uploads and downloads at once in one process.
        memory: Of all bodies that are being read or worked on in one process, in bytes.
        uploads: Begun and not yet finished, in the whole server, and `uploads_each` by one caller.
        upload_seconds: After so long without a byte an upload is gone.
        blob: Greatest size of a blob, in bytes.
        free: What is left free on the disk, in bytes.
        body_seconds: Time for a body, to which a second is added for each `body_rate` bytes.
        header_seconds: Time for the head of a request.
        write_seconds: Time for a client to read what was sent.
    """

    connections: int = 1000
    requests: int = 64
    streams: int = 32
    memory: int = 256 * MIB
    uploads: int = 1000
    uploads_each: int = 100
    upload_seconds: float = 24 * 3600
    blob: int = 64 * 1024 * MIB
    free: int = 64 * MIB
    body_seconds: float = 30
    body_rate: int = 10_000
    header_seconds: float = 20
    write_seconds: float = 20

    def changed(self, texts: Iterable[str]) -> Limits:
        """Limits of which some are as an operator writes them, such as `uploads=50`.

        Raises:
            InvalidObjectError: There is no such limit, or the value is no number from 0 on.
        """
        kinds = {item.name: float if "float" in str(item.type) else int for item in fields(self)}
        changes: dict[str, Any] = {}
        for text in texts:
            name, _, value = text.partition("=")
            try:
                changes[name] = kinds[name](value)
                if not 0 <= changes[name] < math.inf:
                    raise ValueError(value)
            except (KeyError, ValueError):
                raise InvalidObjectError(
                    f"{text!r:.80}: expected a limit and a number, of {', '.join(kinds)}"
                ) from None
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Settings:
    """A server's configuration.

    Attributes:
        store: URL of the store.
        options: For the store's plugin.
        state: The folder of users, tokens, audit log and unfinished uploads.
        hosts: Names, beside those of this machine, by which clients may call it.
        public_metrics: `/metrics` needs no token from this machine.
    """

    store: str
    state: str
    options: Mapping[str, object] = field(default_factory=dict)
    readonly: bool = False
    hosts: tuple[str, ...] = ()
    public_metrics: bool = False
    session_seconds: float = 12 * 3600
    limits: Limits = field(default_factory=Limits)


def default_state(store: str) -> Path:
    """The state folder of a store's server: in the user's state folder, by the store's URL."""
    return state_folder() / "server" / hashlib.sha256(store.encode()).hexdigest()[:16]

"""Times as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

from padre_core.errors import InvalidObjectError
from padre_core.objects.canonical import format_time, read_time

_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?")


def moment(text: str) -> str | None:
    """A time as records hold it; None if the text is none, but a name. A day alone means its end; all is in UTC.

    Raises:
        InvalidObjectError: It looks like a time, and there is no such.
    """
    if not _TIME.fullmatch(text):
        return None
    try:
        time = read_time(text)
    except ValueError as error:
        raise InvalidObjectError(f"{text!r:.40} is no time: {error}; write 2026-11-23 or 2026-11-23T12:00") from None
    if len(text) == len("2026-11-23"):
        time += timedelta(days=1) - timedelta(microseconds=1)
    return format_time(time)

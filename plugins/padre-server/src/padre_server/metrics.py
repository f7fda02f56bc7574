"""Counters of one process, in the text format of Prometheus."""

from __future__ import annotations

import os
import threading
from collections import Counter


class Metrics:
    """How many requests there were and how long they took. May be used from several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self.active = 0

    def note(self, route: str, status: int, seconds: float) -> None:
        """Counts an answered request."""
        with self._lock:
            self._requests[route, status] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter sums floats just as well

    def text(self, uploads: int) -> bytes:
        """All counters.

        Args:
            uploads: How many are begun and not finished.
        """
        process = os.getpid()
        lines = ["# TYPE padre_requests_total counter"]
        with self._lock:
            for (route, status), count in sorted(self._requests.items()):
                lines.append(f'padre_requests_total{{process="{process}",route="{route}",status="{status}"}} {count}')
            lines.append("# TYPE padre_request_seconds_total counter")
            for route, seconds in sorted(self._seconds.items()):
                lines.append(f'padre_request_seconds_total{{process="{process}",route="{route}"}} {seconds:.6f}')
            lines.append("# TYPE padre_requests_active gauge")
            lines.append(f'padre_requests_active{{process="{process}"}} {self.active}')
        lines.append("# TYPE padre_uploads_open gauge")
        lines.append(f"padre_uploads_open {uploads}")
        return ("\n".join(lines) + "\n").encode()

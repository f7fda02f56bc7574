"""uvicorn's HTTP/1.1 with an end to patience: it waits for ever for heads, and for clients that do not read."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from padre_server.guard import MAX_URL
from padre_server.settings import Limits

MAX_HEAD = 64 * 1024
"""The greatest head of a request, in bytes."""

_BUSY = b'{"error":"UnavailableError","message":"the server has too many connections"}'
_LARGE = b'{"error":"InvalidObjectError","message":"the head of the request is too large"}'
_LONG = b'{"error":"InvalidObjectError","message":"the URL is too long: use the search routes for long queries"}'
_SLOW = b'{"error":"UnavailableError","message":"the request comes too slowly"}'


class Protocol(HttpToolsProtocol):
    """One connection. Heads are bounded in size and time, and what is sent must be read in time."""

    def __init__(self, *arguments: Any, limits: Limits, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.limits = limits
        self._head = 0
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(b"503 Service Unavailable", _BUSY, b"retry-after: 1\r\n")
            return
        self._start_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.parser is None or self.transport.is_closing():
            return
        super().data_received(data)
        if self._head_timer is not None:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(b"431 Request Header Fields Too Large", _LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        if self._head_timer is None:
            self._start_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what comes behind a body nobody reads, and it has no end
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._end_head()
        if self.transport.is_closing():
            return
        if len(self.url) > MAX_URL:
            self._refuse(b"414 URI Too Long", _LONG)
        elif sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            self._refuse(b"431 Request Header Fields Too Large", _LARGE)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.cycle is not None:
            super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _start_head(self) -> None:
        self._head = 0
        self._head_timer = self.loop.call_later(self.limits.header_seconds, self._too_slow)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._head or self.cycle is not None:
            self._refuse(b"408 Request Timeout", _SLOW)
        else:
            self.transport.close()

    def _refuse(self, status: bytes, body: bytes, header: bytes = b"") -> None:
        """Answers past the application, and ends the connection."""
        self._end_head()
        if self.transport.is_closing():
            return
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n%b\r\n%b"
            % (status, len(body), header, body)
        )
        self.transport.close()

"""Connections to S3 on which a small request is sent as a whole.

Its head and its body as two packets would wake the server twice, and let go of the interpreter's lock twice here.
"""

from __future__ import annotations

from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.httpsession import URLLib3Session

SMALL = 64 * 1024
"""Bytes up to which a request is put together."""


class _Whole:
    """Holds back what is sent of a request until all of it is there, or it turns out to be long."""

    _held: bytes | None = None

    def request(self, *args: Any, **kwargs: Any) -> Any:
        self._held = b""
        try:
            answer = super().request(*args, **kwargs)  # type: ignore[misc]  # of the class beside it
            self._release()
            return answer
        finally:
            self._held = None

    def send(self, data: Any) -> None:
        if self._held is not None and isinstance(data, bytes) and len(self._held) + len(data) <= SMALL:
            self._held += data
            return
        self._release()
        super().send(data)  # type: ignore[misc]

    def _release(self) -> None:
        held, self._held = self._held, None
        if held:
            super().send(held)  # type: ignore[misc]


class _Connection(_Whole, AWSHTTPConnection):  # type: ignore[misc]  # botocore has no types
    pass


class _SecureConnection(_Whole, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _SecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _SecureConnection


class Connections(URLLib3Session):  # type: ignore[misc]
    """Botocore's own, with its proxies and its certificates."""

    def __init__(self, **way: Any) -> None:
        super().__init__(**way)
        self._pool_classes_by_scheme.update(http=_Pool, https=_SecurePool)

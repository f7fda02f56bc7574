"""The base of everything that talks to a PaDRe server: calls, sign-in, and what the server says of itself."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from padre_core import __version__
from padre_core.errors import (
    AuthenticationError,
    BackendError,
    IncompatiblePluginError,
    InvalidObjectError,
    PadreError,
)
from padre_http.connection import Deadline
from padre_http.origin import parse_origin
from padre_http.secret import Secret
from padre_http.tokens import Given, Kept, Source, Token, TokenFile, default_path, keeps, signed_out, source_for
from padre_http.tokens.keep import checked, parse_time
from padre_http.transport import Answer, Request, Streamed, Transport
from padre_http.wire import JSON, MAX_JSON, info
from padre_http.wire.info import API, Identity, ServerInfo, Session

TIMEOUT: Final = 60.0
"""How many seconds a call takes at most, with all its attempts; one that streams, for each part of it."""

ATTEMPTS: Final = 5
PROBE_SECONDS: Final = 2.0

RENEW_SECONDS: Final = 5.0
"""How long a call waits at most for its token to be exchanged, which is good for long yet."""

RENEW_AGAIN_SECONDS: Final = 60.0
"""After how long that is tried again if it failed."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_PATH = re.compile(r"/v1/[!-~]*|/(healthz|readyz|openapi\.json)")

Body = TypeVar("Body")
Value = TypeVar("Value")


class Client:
    """One server, as one user. Safe for threads; connections are kept alive, and a forked child makes its own.

    Every call ends within `timeout` seconds. It is repeated, with pauses of random length or as the server asks, while
    the server cannot be reached or says that it is busy: all calls of this API may be repeated without harm.
    Redirects are not followed, and a token is sent to this one server only.

    Args:
        url: `padre+https://host[:port][/path]`; `padre+http://` only to this machine.
        token: A text, or a callable that returns one and is asked again when that was refused.
        token_file: A file that holds a token; read again when it changes.
        ca_file: Certificates to trust instead of the system's.
        attempts: How often a call is tried.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | Secret | Callable[[], str | Secret] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        timeout: float = TIMEOUT,
        ca_file: str | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.origin = parse_origin(url)
        self.timeout, self.attempts = timeout, attempts
        self._file = TokenFile(default_path())
        self._source: Source = source_for(self.origin, token, token_file, file=self._file)
        self._transport = Transport(self.origin, ca_file=ca_file)
        self._renewal = threading.Lock()
        self._renew_from = 0.0
        self._info: ServerInfo | None = None

    @property
    def url(self) -> str:
        """The address of the server, as browsers have it."""
        return self.origin.url

    def get(self, path: str, **arguments: Any) -> Answer:
        """`call` with the method GET."""
        return self.call("GET", path, **arguments)

    def put(self, path: str, body: bytes, **arguments: Any) -> Answer:
        """`call` with the method PUT."""
        return self.call("PUT", path, body, **arguments)

    def post(self, path: str, body: bytes = b"{}", **arguments: Any) -> Answer:
        """`call` with the method POST."""
        return self.call("POST", path, body, **arguments)

    def patch(self, path: str, body: bytes, **arguments: Any) -> Answer:
        """`call` with the method PATCH."""
        return self.call("PATCH", path, body, **arguments)

    def delete(self, path: str, **arguments: Any) -> Answer:
        """`call` with the method DELETE."""
        return self.call("DELETE", path, **arguments)

    def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        media_type: str = JSON,
        timeout: float | None = None,
        attempts: int | None = None,
        limit: int = MAX_JSON,
    ) -> Answer:
        """Asks the server, and reads the answer whole.

        Args:
            path: From `/v1/` on, with what is not plain ASCII already quoted.
            media_type: Of the body.
            limit: How many bytes the answer may have.

        Raises:
            UnavailableError: The server cannot be reached, is busy, or did not answer in time.
            PadreError: What the server says is wrong, as the error that a local store raises.
        """
        deadline = Deadline(self.timeout if timeout is None else timeout)
        extra = {**(headers or {}), **({"Content-Type": media_type} if method in _WITH_BODY else {})}
        transport, tries = self._transport, attempts or self.attempts

        def answered(token: Secret | None) -> Answer:
            request = self._request(method, path, extra, body, token)
            return transport.repeated(deadline, tries, lambda: transport.once(request, deadline, limit))

        answer = self._authorised(answered)
        if answer.status >= 300:
            raise transport.refused(answer)
        return answer

    def stream(self, path: str, question: bytes | None = None, *, headers: Mapping[str, str] | None = None) -> Streamed:
        """Asks for something large; the body is read from what is returned.

        Args:
            question: JSON that is sent with POST; None for GET.

        Raises:
            PadreError: As for `call`.
        """
        deadline, transport = Deadline(self.timeout), self._transport
        method, extra = ("GET", {}) if question is None else ("POST", {"Content-Type": JSON})

        def answered(token: Secret | None) -> Streamed | Answer:
            request = self._request(method, path, {**(headers or {}), **extra}, question or b"", token)
            return transport.repeated(deadline, self.attempts, lambda: transport.open(request, deadline))

        found = self._authorised(answered)
        if isinstance(found, Streamed):
            return found
        raise transport.refused(found)

    def online(self) -> bool:
        """Whether a PaDRe server answers now that this client can talk to; asks it, for two seconds at most."""
        try:
            self.probe()
        except PadreError:
            return False
        return True

    def probe(self, seconds: float = PROBE_SECONDS) -> ServerInfo:
        """What the server says of itself to everybody, asked once.

        Args:
            seconds: How long it has for that.

        Raises:
            UnavailableError: It does not answer.
            BackendError: What answers is no PaDRe server.
            IncompatiblePluginError: It speaks other versions of the API.
        """
        answer = self._once(self._request("GET", "/v1/info", {}, b"", None), seconds)
        return self._compatible(self.read(info.decode_info, answer.body))

    @property
    def info(self) -> ServerInfo:
        """What the server says of itself and of its store; asked once."""
        if self._info is None:
            self._info = self._compatible(self.read(info.decode_info, self.get("/v1/info").body))
        return self._info

    def whoami(self) -> Identity:
        """Who is signed in, and what he may do."""
        return self.read(info.decode_identity, self.get("/v1/whoami").body)

    def sign_in(self, name: str, password: Secret) -> Session:
        """Exchanges name and password for a token, which is kept in the keyring or in the user's file.

        Raises:
            AuthenticationError: They are wrong.
        """
        return self._session("/v1/session", info.encode_sign_in(name, password), None, self.timeout)

    def sign_in_with(self, token: Secret) -> Identity:
        """Keeps a token that was made on the server.

        Raises:
            AuthenticationError: It is not valid.
        """
        before, self._source = self._source, Given(Token(token))
        try:
            identity = self.whoami()
        except PadreError:
            self._source = before
            raise
        self._save(Token(token))
        return identity

    def refresh(self) -> Session:
        """Exchanges the token for one that ends later, and keeps that.

        Raises:
            AuthenticationError: It is no longer valid.
        """
        return self._refresh(self.timeout)

    def sign_out(self) -> None:
        """Revokes the token on the server, and forgets it."""
        try:
            if self._source.token() is not None:
                with contextlib.suppress(AuthenticationError):  # it was not valid any more
                    self.delete("/v1/session")
        finally:
            for keep in keeps(self._file):
                keep.forget(self.origin)
            self._source = source_for(self.origin, file=self._file)

    def read(self, decode: Callable[[Body], Value], body: Body) -> Value:
        """What an answer or a part of one says, checked: the server is not trusted to make sense.

        Raises:
            BackendError: It does not.
        """
        try:
            return decode(body)
        except InvalidObjectError as error:
            raise BackendError(f"{self.url} did not answer as a PaDRe server does: {error}") from None

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def _authorised(self, answered: Callable[[Secret | None], Value]) -> Value:
        """Calls with the token; once more with another one, if there is one, when that was refused."""
        token = self._token()
        found = answered(token)
        if not (isinstance(found, Answer) and found.status == 401):
            return found
        if token is None:
            raise signed_out(self.origin)
        other = self._source.renew(token)
        return found if other is None or other.secret == token else answered(other.secret)

    def _token(self) -> Secret | None:
        """The token now, exchanged for a new one if that is due."""
        token = self._source.token()
        if token is None:
            return None
        due = token.due and time.monotonic() >= self._renew_from
        if not (due and self._renewal.acquire(blocking=False)):  # who cannot exchange it now does well with this one
            return token.secret
        try:
            with self._file.locked(wait=False):
                current = self._source.renew(token.secret) or token
                if current.secret != token.secret:  # another process was first
                    return current.secret
                return self._refresh(min(RENEW_SECONDS, self.timeout / 4)).token
        except PadreError:  # the present token says by itself whether it is still good
            self._renew_from = time.monotonic() + RENEW_AGAIN_SECONDS
            return token.secret
        finally:
            self._renewal.release()

    def _refresh(self, seconds: float) -> Session:
        token = self._source.token()
        if token is None:
            raise signed_out(self.origin)
        return self._session("/v1/session/refresh", b"{}", token.secret, seconds)

    def _session(self, path: str, body: bytes, token: Secret | None, seconds: float) -> Session:
        """Gets a token and keeps it. Asked for once only, for another answer would be another token."""
        answer = self._once(self._request("POST", path, {"Content-Type": JSON}, body, token), seconds)
        session = self.read(info.decode_session, answer.body)
        self._save(Token.of_session(checked(session.token.reveal()), _end(session)))
        return session

    def _save(self, token: Token) -> None:
        keep = self._source.keep or keeps(self._file)[0]
        self._source = Given(token)  # the one before ends soon, whether this one can be kept or not
        keep.save(self.origin, token)
        self._source = Kept(keep, self.origin)

    def _once(self, request: Request, seconds: float) -> Answer:
        try:
            answer = self._transport.once(request, Deadline(seconds), fresh=True)
        except (OSError, http.client.HTTPException) as error:
            raise self._transport.broken(error) from error
        if answer.status >= 300:
            raise self._transport.refused(answer)
        return answer

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, token: Secret | None
    ) -> Request:
        if not _PATH.fullmatch(path) or ".." in path.partition("?")[0] or "#" in path:
            raise InvalidObjectError(f"{path!r:.100} is no path of the API, such as /v1/runs")
        standard = {"User-Agent": f"padre-http/{__version__}", "Accept": "*/*"}
        if token is not None:
            standard["Authorization"] = f"Bearer {token.reveal()}"
        return Request(method, self.origin.prefix + path, {**standard, **headers}, body)

    def _compatible(self, found: ServerInfo) -> ServerInfo:
        if API not in found.api:
            side = "padre-http here" if min(found.api, default=0) > API else f"{found.product} there"
            raise IncompatiblePluginError(
                f"{self.url} speaks versions {', '.join(map(str, found.api))} of the API, not {API}: upgrade {side}"
            )
        return found


def _end(identity: Identity) -> datetime | None:
    try:
        return None if identity.expires_at is None else parse_time(identity.expires_at)
    except ValueError:
        return None

"""The ASGI application: routes by path, and for each request guard, caller, scope, body, handler, answer."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.routing import Route as Path
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import padre_core
from padre_core import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    InvalidObjectError,
    PadreError,
    UnavailableError,
)
from padre_core.query.model import Query
from padre_server import guard
from padre_server.body import Reader
from padre_server.call import Answer, Call
from padre_server.errors import MethodError, NoRouteError, answer_of
from padre_server.rights import NOBODY, Caller
from padre_server.rights import Scope as Right
from padre_server.route import Route, Sink, check_table
from padre_server.routes import TABLE
from padre_server.settings import Settings
from padre_server.state import State

THREADS = 32
WARM = 500
"""How many runs are read when a server starts: as many as its first client asks for at once."""

SMALL_PART = 64 * 1024
MAX_TOKEN = 200
RECHECK_SECONDS = 0.5
"""How long what is sent or taken part by part goes on before the caller's token is looked at again."""

logger = logging.getLogger(__name__)
access_logger = logging.getLogger(f"{__name__}.access")

T = TypeVar("T")


def make_app(settings: Settings, routes: Iterable[Route] = TABLE) -> ASGIApp:
    """The application, which opens its store when the server starts it.

    Raises:
        RouteTableError: A route does not say who may use it.
    """
    table = tuple(routes)
    check_table(table)
    paths: dict[str, dict[str, Route]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method] = route
    engine = _Engine(settings)
    known = [Path(path, endpoint=_Endpoint(engine, path, methods)) for path, methods in paths.items()]
    return Router(known, redirect_slashes=False, default=_Endpoint(engine, "", {}), lifespan=engine.lifespan)


class _Engine:
    """What all endpoints of a process share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = guard.own_names(settings.hosts)
        self._state: State | None = None
        self._threads: anyio.CapacityLimiter | None = None
        self.streams = 0
        self.held = 0

    @property
    def state(self) -> State:
        """The opened store and database.

        Raises:
            UnavailableError: The server is starting or stopping.
        """
        if self._state is None:
            raise UnavailableError("the server is starting or stopping")
        return self._state

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        self._threads = anyio.CapacityLimiter(THREADS)
        state = self._state = await self.in_thread(self._open)
        try:
            yield
        finally:
            self._state = None
            with anyio.CancelScope(shield=True):
                await self.in_thread(state.close)

    def _open(self) -> State:
        settings = self.settings
        workspace = padre_core.open(settings.store, readonly=settings.readonly, **settings.options)  # type: ignore[arg-type]  # the plugin checks its options
        try:
            workspace.backend.query("run", Query(limit=WARM))  # opens the index, so that no client waits for it
            return State.open(settings, workspace)
        except BaseException:
            workspace.close()
            raise

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls what may wait for a disk or another machine."""
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._threads)


class _Endpoint:
    """All methods on one path."""

    def __init__(self, engine: _Engine, path: str, methods: dict[str, Route]) -> None:
        self._engine, self._path, self._methods = engine, path, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await _Exchange(self._engine, self._methods, scope, receive, send).run()


class _Exchange:
    """One request and its answer."""

    def __init__(self, engine: _Engine, methods: dict[str, Route], scope: Scope, receive: Receive, send: Send) -> None:
        self._engine, self._methods, self._scope, self._send = engine, methods, scope, send
        self._method: str = scope["method"]
        self._route: Route | None = None
        self._caller = NOBODY
        self._headers: dict[str, str] = {}
        self._held = 0
        self._asked: Call | None = None
        self._admitted = 0.0
        self._reader = Reader(receive, engine.settings.limits)

    async def run(self) -> None:
        started, status = time.perf_counter(), 500
        try:
            answer = await self._answer()
            status = answer.status
            await self._reply(answer)
        except PadreError as error:  # the answer has begun: that its end is missing tells the client
            status = self._refusal(error).status
            logger.warning("%s ended early: %s", self._route.name if self._route else self._method, error)
        finally:
            self._engine.held -= self._held
            self._finish(status, time.perf_counter() - started)

    async def _answer(self) -> Answer:
        try:
            return await self._handle()
        except PadreError as error:
            # The frames hold the body, and the exception in a circle that only the garbage collector would open.
            return self._refusal(error.with_traceback(None))
        except Exception as error:
            logger.exception("%s failed", self._route.name if self._route else self._method)
            error.__traceback__ = None
            return self._refusal(BackendError("the server failed; its log says how"))

    def _refusal(self, error: PadreError) -> Answer:
        conditional = self._method not in guard.SAFE and not {"if-match", "if-none-match"}.isdisjoint(self._headers)
        message = self._engine._state.hide(str(error)) if self._engine._state else "the server is not ready"
        answer = answer_of(error, conditional=conditional, message=message)
        return Answer(answer.body, answer.status, headers=answer.headers)

    async def _handle(self) -> Answer:
        self._reader.begin(self._scope["headers"])
        self._headers = guard.read_headers(self._scope["headers"])
        length = len(self._scope.get("raw_path") or b"") + len(self._scope["query_string"])
        guard.check(self._method, length, self._headers, self._engine.names)
        route = self._route = self._find()
        state = self._engine.state
        if state.metrics.active >= state.settings.limits.requests:
            raise UnavailableError("the server is busy")
        state.metrics.active += 1
        try:
            return await self._call(state, route)
        finally:
            state.metrics.active -= 1

    def _find(self) -> Route:
        route = self._methods.get(self._method)
        if route is None and self._method == "HEAD":
            route = self._methods.get("GET")
        if route is not None:
            return route
        if not self._methods:
            raise NoRouteError("there is nothing at this address; /openapi.json lists what there is")
        allowed = ", ".join(sorted({*self._methods, *(["HEAD"] if "GET" in self._methods else [])}))
        raise MethodError(f"this address takes {allowed}", allowed)

    async def _call(self, state: State, route: Route) -> Answer:
        client = self._scope.get("client")
        call = Call(
            state,
            route,
            NOBODY,
            self._scope.get("path_params", {}),
            self._scope["query_string"].decode("latin-1"),
            self._headers,
            client[0] if client else "local",
        )
        if route.body is None:
            if self._reader.expects:
                raise InvalidObjectError(f"{route.name} takes no body")
            return await self._engine.in_thread(self._carry_out, call)
        call = await self._engine.in_thread(self._admit, call)
        if self._reader.expects or not route.body.empty:
            guard.check_type(route.body, self._headers)
        self._reader.check_length(route.body.limit)
        if route.body.streamed:
            return await self._stream(call)
        body = await self._body(route.body.limit)
        return await self._engine.in_thread(route.handler, replace(call, body=body))

    async def _body(self, limit: int) -> bytes:
        """The whole body, within what all bodies together may take."""
        parts: list[bytes] = []
        async for part in self._reader.parts(limit, size=SMALL_PART):
            if self._engine.held + len(part) > self._engine.settings.limits.memory:
                raise UnavailableError("the server has too many large bodies to work on")
            self._engine.held += len(part)
            self._held += len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _carry_out(self, call: Call) -> Answer:
        answer: Answer = call.route.handler(self._admit(call))
        return answer

    def _admit(self, call: Call) -> Call:
        """The call with its caller, who may use the route."""
        caller = self._caller = _authenticate(call.state, self._headers.get("authorization"))
        route, scope = call.route, call.route.scope
        if scope is not Right.PUBLIC:
            if caller.token is None:
                raise AuthenticationError("sign in first, or send a token as Authorization: Bearer")
            if scope is not Right.ANY and not (
                caller.everywhere(_needed(route)) if route.whole_store else caller.has(_needed(route))
            ):
                where = " for the whole store" if route.whole_store else ""
                raise AccessDeniedError(f"this needs a token with the scope {scope}{where}")
        admitted = replace(call, caller=caller)
        admitted.query  # noqa: B018  # refuses malformed parameters before anything happens
        self._asked, self._admitted = call, time.monotonic()
        return admitted

    async def _admit_again(self) -> None:
        """Checks now and then, while something long travels, that the caller may still do it."""
        if self._asked is not None and time.monotonic() - self._admitted > RECHECK_SECONDS:
            await self._engine.in_thread(self._admit, self._asked)

    async def _stream(self, call: Call) -> Answer:
        if self._engine.streams >= call.state.settings.limits.streams:
            raise UnavailableError("too many uploads are under way")
        self._engine.streams += 1
        try:
            sink: Sink = await self._engine.in_thread(call.route.handler, call)
            try:
                async for data in self._reader.parts(call.route.body.limit if call.route.body else 0):
                    await self._admit_again()
                    await self._engine.in_thread(sink.write, data)
                return await self._engine.in_thread(sink.finish)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._engine.in_thread(sink.abort)
                raise
        finally:
            self._engine.streams -= 1

    async def _reply(self, answer: Answer) -> None:
        headers = {**guard.HEADERS, "Cache-Control": "no-store", **answer.headers}
        if answer.media_type is not None and answer.status not in (204, 304):
            headers["Content-Type"] = answer.media_type
        length = len(answer.body) if isinstance(answer.body, bytes) else answer.length
        if length is not None and answer.status not in (204, 304):
            headers["Content-Length"] = str(length)
        if self._reader.expects and not await self._reader.drain():
            headers["Connection"] = "close"
        await self._send_start(answer.status, headers)
        if isinstance(answer.body, bytes):
            body = b"" if self._method == "HEAD" else answer.body
            await self._send({"type": "http.response.body", "body": body})
        else:
            await self._send_parts(answer.body)

    async def _send_start(self, status: int, headers: dict[str, str]) -> None:
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        start: Message = {"type": "http.response.start", "status": status, "headers": raw}
        await self._send(start)

    async def _send_parts(self, parts: Iterator[bytes]) -> None:
        engine = self._engine
        try:
            if self._method != "HEAD":
                while (part := await engine.in_thread(next, parts, None)) is not None:
                    await self._admit_again()
                    await self._send({"type": "http.response.body", "body": part, "more_body": True})
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                with anyio.CancelScope(shield=True):
                    await engine.in_thread(close)

    def _finish(self, status: int, seconds: float) -> None:
        state = self._engine._state
        name = self._route.name if self._route else "none"
        if state is None:
            return
        state.metrics.note(name, status, seconds)
        client = self._scope.get("client")
        path = dict(self._scope.get("path_params", {}))
        if status in (401, 403, 429) or (self._method not in guard.SAFE and self._route and _changes(self._route)):
            state.audit.note(
                self._caller.name,
                name,
                token=self._caller.token,
                client=client[0] if client else None,
                status=status,
                **path,
            )
        access_logger.info("%s %s %d %.4f", self._caller.name, name, status, seconds)


def _authenticate(state: State, header: str | None) -> Caller:
    if header is None:
        return NOBODY
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(text) <= MAX_TOKEN:
        raise AuthenticationError("expected Authorization: Bearer and a token")
    return state.tokens.caller(text.strip())


def _needed(route: Route) -> Right:
    return route.scope or Right.ADMIN


def _changes(route: Route) -> bool:
    """Whether a route with an unsafe method is more than a long question."""
    return route.scope is not Right.READ

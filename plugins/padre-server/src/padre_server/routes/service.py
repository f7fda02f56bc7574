"""What the server says of itself, and what its operator asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from padre_core import AccessDeniedError, AuthenticationError, PadreError, UnavailableError
from padre_core.hosts import is_loopback
from padre_core.objects import canonical
from padre_http.wire.errors import encode_error
from padre_http.wire.info import TOGETHER, Limits, ServerInfo, StoreInfo, encode_model, encode_problem, encode_runs
from padre_http.wire.queries import encode_refreshed
from padre_http.wire.shapes import STRICT, parse
from padre_server import __version__
from padre_server.call import Answer, Call
from padre_server.rights import Scope
from padre_server.route import Body, Parameter, Reply, Route
from padre_server.schemas import COUNT, TEXT, array, ref, struct

NDJSON = "application/x-ndjson"


class _Refresh(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]  # pydantic's way to configure a typed dict
    accept_edits: NotRequired[bool]


_REFRESH = TypeAdapter(_Refresh)


def _health(_: Call) -> Answer:
    return Answer(b'{"status":"ok"}')


def _ready(call: Call) -> Answer:
    state = call.state
    try:
        state.backend.ping()
        state.database.reading().execute("SELECT 1 FROM token LIMIT 1")
    except OSError as error:  # a BackendError too; what is wrong is in the log of the server, not for everybody
        raise UnavailableError("the store does not answer") from error
    return Answer(b'{"status":"ready"}')


def _metrics(call: Call) -> Answer:
    open_here = call.state.settings.public_metrics and is_loopback(call.client)
    if not open_here and not call.caller.everywhere(Scope.ADMIN):
        if call.caller.token is None:
            raise AuthenticationError("metrics need a token with the scope admin")
        raise AccessDeniedError("metrics need a token with the scope admin for the whole store")
    return Answer(call.state.metrics.text(call.state.uploads.count()), media_type="text/plain; version=0.0.4")


def _openapi(_: Call) -> Answer:
    from padre_server.openapi import document  # it describes this table, and so cannot come before it

    return Answer(canonical.to_json(document()))


def _info(call: Call) -> Answer:
    known = call.caller.has(Scope.READ) or call.caller.has(Scope.WRITE)
    return Answer(
        encode_model(
            ServerInfo(
                version=__version__,
                features=(TOGETHER,),
                limits=Limits(blob=call.state.settings.limits.blob),
                store=StoreInfo.of(call.state.backend.info()) if known else None,
            )
        )
    )


def _live(call: Call) -> Answer:
    here = call.state.backend.live_runs()
    runs = None if here is None else here | call.state.beats.live()
    access = call.access
    if runs is not None and not access.reads_all:
        heads = call.state.backend.get_many([("run", run) for run in sorted(runs)])
        runs = {head.id for head in heads if head is not None and access.sees(head)}
    return Answer(encode_runs(runs))


def _sync(call: Call) -> Answer:
    call.state.backend.sync()
    return Answer(b"{}")


def _refresh(call: Call) -> Answer:
    asked = parse(_REFRESH, call.body or b"{}", "refresh")
    changed = call.state.backend.refresh(accept_edits=asked.get("accept_edits", False))
    return Answer(encode_refreshed(changed))


def _verify(call: Call) -> Answer:
    found = call.state.backend.verify(quarantine=call.query.get("quarantine") == "true")

    def lines() -> Iterator[bytes]:
        try:
            for problem in found:
                yield encode_problem(replace(problem, message=call.state.hide(problem.message)))
        except PadreError as error:
            yield encode_error(error) + b"\n"
        else:
            yield b"{}\n"

    return Answer(lines(), media_type=NDJSON)


_STATUS = struct({"status": TEXT})
_INFO = {
    "product": "padre-server", "version": __version__, "api": [1], "sign_in": ["password", "token"],
    "features": [TOGETHER],
    "limits": Limits().model_dump(),
    "store": {"store": "466a5e62-951e-4548-b99d-62e02c86e660", "format": 1, "durability": "power", "readonly": False,
              "capabilities": ["persistent", "server_query"], "planned": []},
}  # fmt: skip

ROUTES = (
    Route(
        "GET", "/healthz", Scope.PUBLIC, "Says that the process lives.", _health,
        {200: Reply("It does.", schema=_STATUS, example={"status": "ok"})},
    ),
    Route(
        "GET", "/readyz", Scope.PUBLIC, "Says whether the store answers.", _ready,
        {200: Reply("It does.", schema=_STATUS, example={"status": "ready"})},
    ),
    Route(
        "GET", "/metrics", Scope.PUBLIC,
        "Gives counters for Prometheus, to administrators or, if the operator says so, to this machine.", _metrics,
        {200: Reply("Text.", media_type="text/plain")}, (401, 403),
    ),
    Route(
        "GET", "/openapi.json", Scope.PUBLIC, "Gives this document.", _openapi,
        {200: Reply("An OpenAPI 3.1 document.", schema={"type": "object"})},
    ),
    Route(
        "GET", "/v1/info", Scope.PUBLIC, "Says what server this is, and with a token what its store can do.", _info,
        {200: Reply("Version, limits, ways to sign in, and the store.", schema=ref("Info"), example=_INFO)}, (401,),
    ),
    Route(
        "GET", "/v1/live", Scope.READ, "Lists the runs that some living process writes.", _live,
        {200: Reply("Ids of runs; null if the store cannot tell.",
                    schema=struct({"runs": {"oneOf": [array(TEXT, 1_000_000), {"type": "null"}]}}),
                    example={"runs": ["018f3a5e-0000-7000-8000-000000000000"]})},
    ),
    Route(
        "POST", "/v1/sync", Scope.WRITE, "Returns when all that was acknowledged is as safe as the store can make it.",
        _sync, {200: Reply("It is.", schema={"type": "object"}, example={})}, body=Body(empty=True, limit=1000),
    ),
    Route(
        "POST", "/v1/refresh", Scope.ADMIN, "Looks for what was changed in the store past PaDRe.", _refresh,
        {200: Reply("How many objects were.", schema=struct({"changed": COUNT}), example={"changed": 0})},
        body=Body(limit=1000, schema=struct({}, {"accept_edits": {"type": "boolean"}}, strict=True),
                  example={"accept_edits": True}, empty=True),
        whole_store=True,
    ),
    Route(
        "GET", "/v1/verify", Scope.ADMIN, "Reads and checks everything in the store.", _verify,
        {200: Reply("A line of JSON for each problem, then a line `{}`, or an error.", media_type=NDJSON)}, (501,),
        (Parameter("quarantine", "Move damaged files aside, so that the rest works.", {"enum": ["true", "false"]}),),
        whole_store=True,
    ),
)  # fmt: skip

"""The OpenAPI document, made from the route table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from padre_core import kinds
from padre_http.wire import JSON
from padre_server import __version__
from padre_server.rights import Scope
from padre_server.route import Body, Parameter, Reply, Route
from padre_server.schemas import COMPONENTS, DIGEST, ID, UPLOAD, WRITER, ref

_ALWAYS = (400, 403, 404, 405, 413, 414, 431, 500, 503)
_REASONS = {
    400: "The request is malformed; nothing was stored.",
    401: "There is no valid token.",
    403: "The token, the server's extensions or a read-only store do not allow it.",
    404: "There is nothing of this name, as far as the caller may see.",
    405: "The address takes other methods.",
    408: "The body came too slowly.",
    409: "Somebody else changed it, or a stream would have a gap; `details.next` says what comes next.",
    412: "The version that the request names is not the one that is there.",
    413: "The body is too large.",
    414: "The URL is too long.",
    415: "The body is of another type.",
    416: "The range lies outside of the blob.",
    429: "Too many of these of late; come again after `Retry-After` seconds.",
    431: "The headers are too large.",
    500: "The store is damaged at this place (`CorruptObjectError`), or the server failed.",
    501: "The store behind the server cannot do this.",
    503: "The server or its store is busy; come again after `Retry-After` seconds.",
    507: "The disk is full; what is stored stays readable.",
}
_DESCRIPTION = """\
Everything that a store holds, over HTTP. `padre-http` is the client; this document is for all others.

Send a token as `Authorization: Bearer padre_…`. What a token may not see looks as if it were not there.
Writes are idempotent by content, so a request whose answer got lost may simply be sent again.
"""


def document() -> dict[str, Any]:
    """The whole document."""
    from padre_server.routes import TABLE  # the table has a route that gives this document

    return make_document(TABLE)


def make_document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document of a table of routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PaDRe server",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(COMPONENTS),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    statuses = {*_ALWAYS, *route.errors}
    if route.scope is not Scope.PUBLIC:
        statuses.add(401)
    if route.body is not None:
        statuses |= {408, 415}
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": _needs(route),
        "parameters": [*map(_in_path, route.path_parameters), *map(_parameter, route.parameters)],
        "responses": {
            **{str(status): _reply(reply) for status, reply in route.answers.items()},
            **{str(status): _error(status) for status in sorted(statuses)},
        },
        "security": [{}, {"token": []}] if route.scope is Scope.PUBLIC else [{"token": []}],
    }
    if route.body is not None:
        operation["requestBody"] = _body(route.body)
    return operation


def _operation_id(route: Route) -> str:
    words = [word.strip("{}") for word in route.path.strip("/").split("/") if word != "v1"]
    return "_".join([route.method.lower(), *words]).replace(".", "_")


def _needs(route: Route) -> str:
    if route.scope is Scope.PUBLIC:
        return "Needs no token."
    if route.scope is Scope.ANY:
        return "Needs a token, of any scope."
    return f"Needs the scope `{route.scope}`{' for the whole store' if route.whole_store else ''}."


def _in_path(name: str) -> dict[str, Any]:
    schemas: dict[str, Any] = {
        "folder": {"enum": [model.folder for model in kinds()]},
        "digest": dict(DIGEST),
        "writer": dict(WRITER),
        "upload": dict(UPLOAD),
    }
    return {"name": name, "in": "path", "required": True, "schema": schemas.get(name, dict(ID))}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "header" if parameter.header else "query",
        "required": parameter.required,
        "description": parameter.text,
        "schema": dict(parameter.schema),
    }


def _body(body: Body) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for media_type in body.media_types:
        content[media_type] = {"schema": dict(body.schema)} if media_type == JSON else {}
        if body.example is not None and media_type == JSON:
            content[media_type]["example"] = body.example
    return {"required": not body.empty, "content": content}


def _reply(reply: Reply) -> dict[str, Any]:
    said: dict[str, Any] = {"description": reply.text}
    if reply.media_type is not None:
        content = {"schema": dict(reply.schema)} if reply.media_type == JSON else {}
        if reply.example is not None:
            content["example"] = reply.example
        said["content"] = {reply.media_type: content, **({JSON: {}} if reply.media_type.endswith("segments") else {})}
    if reply.headers:
        said["headers"] = {name: {"schema": {"type": "string"}} for name in reply.headers}
    return said


def _error(status: int) -> dict[str, Any]:
    said: dict[str, Any] = {"description": _REASONS[status], "content": {JSON: {"schema": ref("Error")}}}
    if status in (429, 503, 507):
        said["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return said

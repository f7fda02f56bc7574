"""The HTTP API as Markdown, from the OpenAPI document: `python -m padre_server.reference > docs/http-api.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from padre_core.objects import canonical
from padre_server.openapi import document

_HEAD = """\
# The HTTP API

What a server (`padre serve`) answers, made from the OpenAPI document that each server has at `/openapi.json`.

{description}
An answer that is no success is a JSON object with `error` (the name of the error class in `padre_core`), `message`,
and sometimes `details`. Each route may answer these:

| status | what it means |
|---|---|
{statuses}

`NaN`, `Infinity` and `-Infinity` may stand in contents and points for numbers that JSON does not have: strict parsers
have to be told.
"""


def reference() -> str:
    """The whole page."""
    made = document()
    operations = [
        (method.upper(), path, item) for path, methods in made["paths"].items() for method, item in methods.items()
    ]
    errors = {
        status: reply["description"]
        for _, _, item in operations
        for status, reply in item["responses"].items()
        if int(status) >= 400
    }
    statuses = "\n".join(f"| {status} | {text} |" for status, text in sorted(errors.items()))
    parts = [_HEAD.format(description=made["info"]["description"], statuses=statuses)]
    parts += ["\n".join(_section(*operation)) for operation in operations]
    parts.append("\n".join(_shapes(made["components"]["schemas"])))
    return "\n".join(parts)


def _section(method: str, path: str, item: dict[str, Any]) -> Iterator[str]:
    yield f"## {method} {path}\n"
    yield f"{item['summary']} {item['description']}\n"
    shown = [parameter for parameter in item["parameters"] if parameter["in"] != "path"]
    if shown:
        yield "| parameter | in | what it is |"
        yield "|---|---|---|"
        for parameter in shown:
            needed = " Required." if parameter["required"] else ""
            yield f"| `{parameter['name']}` | {parameter['in']} | {parameter.get('description', '')}{needed} |"
        yield ""
    for media_type, body in item.get("requestBody", {}).get("content", {}).items():
        yield f"Takes `{media_type}`{_shape(body)}{_example(body)}\n"
    for status, reply in item["responses"].items():
        if int(status) >= 400:
            continue
        headers = "".join(f", header `{name}`" for name in reply.get("headers", {}))
        yield f"Answers {status}{headers}: {reply['description']}\n"
        for media_type, body in reply.get("content", {}).items():
            yield f"- `{media_type}`{_shape(body)}{_example(body)}"
        yield ""


def _shape(body: dict[str, Any]) -> str:
    name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return f", a [{name}](#{name.lower()})" if name else ""


def _example(body: dict[str, Any]) -> str:
    if "example" not in body:
        return ""
    return f", such as\n\n```json\n{canonical.to_json(body['example']).decode()}\n```"


def _shapes(schemas: dict[str, Any]) -> Iterator[str]:
    yield "## Shapes\n"
    for name, schema in schemas.items():
        yield f"### {name}\n"
        if "description" in schema:
            yield f"{schema['description']}\n"
        yield f"```json\n{canonical.to_json({key: schema[key] for key in schema if key != 'example'}).decode()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())

"""The OpenAPI document: it says what the server does, as schemathesis finds by trying."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from padre_core.objects.kinds import RESERVED, kinds
from padre_server.openapi import document
from padre_server.rights import Scope
from padre_server.routes import TABLE

from .serving import Start

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_every_route_is_described_with_its_scope() -> None:
    paths = document()["paths"]
    described = {
        f"{method.upper()} {path}": item for path, methods in paths.items() for method, item in methods.items()
    }
    assert described.keys() == {route.name for route in TABLE}
    for route in TABLE:
        if route.scope not in (Scope.PUBLIC, Scope.ANY):
            assert f"`{route.scope}`" in described[route.name]["description"]
        assert {} in described[route.name]["security"] or route.scope is not Scope.PUBLIC


def test_no_kind_of_a_plugin_can_take_the_place_of_a_route() -> None:
    folders = {model.folder for model in kinds()}
    first = {route.path.split("/")[2] for route in TABLE if route.path.startswith("/v1/")}
    assert first - folders - {"{folder}"} <= RESERVED


def test_names_of_operations_are_unique_and_references_lead_somewhere() -> None:
    made = document()
    names = [item["operationId"] for methods in made["paths"].values() for item in methods.values()]
    assert len(names) == len(set(names))
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(made)))
    assert referred <= made["components"]["schemas"].keys()


def test_each_json_body_has_an_example() -> None:
    for methods in document()["paths"].values():
        for item in methods.values():
            content = item.get("requestBody", {}).get("content", {})
            for media_type, body in content.items():
                if media_type == "application/json" and body.get("schema"):
                    assert "example" in body, item["operationId"]


def test_each_json_answer_has_an_example_and_every_example_is_of_its_shape() -> None:
    made = document()
    operations = [item for methods in made["paths"].values() for item in methods.values()]
    for item in operations:
        answers = [answer for status, answer in item["responses"].items() if status < "400"]
        for part in [*answers, item.get("requestBody", {})]:
            shown = part.get("content", {}).get("application/json", {})
            if shown.get("schema") and item["operationId"] != "get_openapi_json":
                assert "example" in shown, item["operationId"]
                jsonschema.validate(shown["example"], {**shown["schema"], "components": made["components"]})


@pytest.mark.slow
# Operations on the session may end the token, so each has a server and a token of its own.
@pytest.mark.parametrize("operation", [None, "post_session", "delete_session", "post_session_refresh"])
def test_schemathesis_finds_no_crash_and_nothing_undocumented(
    start: Start, tmp_path: Path, operation: str | None
) -> None:
    served = start()
    chosen = ["--include-operation-id", operation] if operation else ["--exclude-path-regex", "^/v1/session"]
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.url}/openapi.json",
        "--header", f"Authorization: Bearer {served.token}", "--checks", CHECKS,
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", "8", "--seed", "1", "--generation-database", "none", "--no-color",
        "--suppress-health-check", "too_slow", "--request-timeout", "60", *chosen,  # a busy machine is no finding
    ]  # fmt: skip
    hooks = {"SCHEMATHESIS_HOOKS": "bodies", "PYTHONPATH": str(Path(__file__).parent)}
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=500, cwd=tmp_path, check=False, env={**os.environ, **hooks}
    )
    assert found.returncode == 0, found.stdout[-5000:]
    assert '"ERROR"' not in served.log()

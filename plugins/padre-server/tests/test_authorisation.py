"""Who may do what: every route with every kind of token that is not enough, made from the route table itself."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import urllib3

import padre_core as padre
from padre_core.backends.backend import Segment
from padre_core.objects.identity import new_run_id
from padre_core.streams.columns import make_points
from padre_http.wire.records import encode_record
from padre_http.wire.streams import encode_columns, encode_parts
from padre_server.app import RECHECK_SECONDS, make_app
from padre_server.rights import GRANTABLE, Scope
from padre_server.route import Route, RouteTableError
from padre_server.routes import TABLE
from padre_server.settings import Settings

from .samples import deleted, project
from .serving import Answer, Client, Served

PROTECTED = [route for route in TABLE if route.scope is not Scope.PUBLIC]
NAMES = [route.name for route in PROTECTED]
SECRET = "canary-of-a-foreign-project"


@dataclass(frozen=True)
class World:
    """A project with everything in it, and somebody else who has another."""

    served: Served
    project: padre.Project
    run: padre.Run
    blob: str
    upload: str
    foreign: str

    def request(self, route: Route, client: Client) -> Answer:
        """A request that would work, were it allowed."""
        record = project(SECRET)
        path = {
            "folder": "runs",
            "id": str(self.run.id),
            "digest": self.blob,
            "writer": "0123456789abcdef",
            "upload": self.upload,
        }
        target = route.path.format_map(path)
        body: bytes | dict[str, object] | None = None
        headers: dict[str, str] = {}
        if route.body is not None:
            headers["Content-Type"] = route.body.media_types[0]
            body = b""
        match route.name:
            case "PUT /v1/{folder}/{id}":
                target, body = f"/v1/projects/{record.id}", encode_record(record)
            case "POST /v1/records/get":
                body = {"refs": [["run", str(self.run.id)], ["project", str(self.project.id)]]}
            case "POST /v1/streams/ends":
                body = {"runs": [str(self.run.id)]}
            case "POST /v1/streams":
                part = Segment(path["writer"], 0, make_points("loss", [1], None, None, 0))
                body = b"".join(encode_parts([(str(self.run.id), part)]))
            case "POST /v1/streams/read":
                body = {"stream": "points", "known": {str(self.run.id): {}}}
            case "POST /v1/records/put":
                body = b'{"writes":[\n' + encode_record(record) + b"\n]}"
            case "POST /v1/blobs/has" | "POST /v1/blobs/get":
                body = {"digests": [self.blob]}
            case "POST /v1/uploads/{upload}/commit":
                body = {"digest": self.blob, "size": 5}
            case "PATCH /v1/uploads/{upload}":
                headers["Upload-Offset"] = "0"
            case "POST /v1/runs/{id}/streams/{writer}":
                target, body = f"{target}?first=0", encode_columns(0, make_points("loss", [1], None, None, 0))
            case "PUT /v1/{folder}/{id}/envelope" | "POST /v1/{folder}/search" | "POST /v1/{folder}/count":
                body = {}
        return client(route.method, target, body, headers=headers)


@pytest.fixture(scope="module")
def world(served: Served, workspace: padre.Workspace, tmp_path_factory: pytest.TempPathFactory) -> World:
    file = tmp_path_factory.mktemp("files") / "hello.txt"
    file.write_text(SECRET)
    with workspace.start_run("matrix-home/svc", parameters={"C": 1}, name=SECRET) as active:
        active.log_metric("loss", 0.5)
        active.log(SECRET)
        active.log_artifact(file)
    run = workspace.runs.get(active.id)
    artifact = next(iter(workspace.artifacts.list(within=run)))
    home = workspace.projects.get("matrix-home")
    foreign = workspace.projects.put(padre.Project(name="matrix-foreign"))
    upload = served.client("POST", "/v1/uploads").json["id"]
    return World(served, home, run, artifact.digest, upload, str(foreign.id))


def snapshot(client: Client) -> object:
    return client("GET", "/v1/changes", limit=1000).json["cursor"], client("GET", "/v1/blobs").body


@pytest.mark.parametrize("route", PROTECTED, ids=NAMES)
def test_without_a_valid_token_nothing_happens(world: World, route: Route) -> None:
    client = world.served.client
    before = snapshot(client)
    with world.served.tokens() as tokens:
        expired, _ = tokens.create("expired", scopes=GRANTABLE, seconds=-1)
        revoked, token = tokens.create("revoked", scopes=GRANTABLE)
        tokens.revoke(token.id)
    wrong = [None, "padre_" + "A" * 43, "x", expired, revoked, f"{world.served.token}x", str(world.served.token)[:-1]]
    answers = [world.request(route, client.as_(text)) for text in wrong]
    assert {answer.status for answer in answers} == {401}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {"Bearer"}
    assert len({answer.body for answer in answers[3:]}) == 1, "which of these it is, is not told"
    assert snapshot(client) == before


@pytest.mark.parametrize(
    "route", [route for route in PROTECTED if route.scope is not Scope.ANY], ids=lambda route: route.name
)
def test_a_token_that_lacks_the_scope_is_too_weak(world: World, route: Route) -> None:
    client = world.served.client
    before = snapshot(client)
    weak = world.served.make_token(*[scope for scope in GRANTABLE if scope is not route.scope])
    answer = world.request(route, client.as_(weak))
    assert (answer.status, answer.error) == (403, "AccessDeniedError")
    assert snapshot(client) == before


@pytest.mark.parametrize("route", PROTECTED, ids=NAMES)
def test_a_token_of_another_project_changes_nothing_and_sees_nothing(world: World, route: Route) -> None:
    if route.name in ("DELETE /v1/session", "POST /v1/session/refresh"):
        pytest.skip("a token may end and replace itself")
    client = world.served.client
    before = snapshot(client)
    foreign = client.as_(world.served.make_token(projects=(world.foreign,)))
    answer = world.request(route, foreign)
    assert answer.status in (200, 201, 204, 400, 403, 404)
    for hidden in (SECRET, str(world.project.id), str(world.run.execution)):
        assert hidden.encode() not in answer.body.replace(b"the store has no", b"")
    if route.name not in ("POST /v1/uploads", "POST /v1/blobs"):
        assert b'"etag"' not in answer.body
    assert snapshot(client) == before
    if "{id}" in route.path or "{digest}" in route.path or ("{upload}" in route.path and route.method != "DELETE"):
        assert answer.status in (400, 403, 404)


def test_what_is_forbidden_looks_like_what_is_not_there(world: World) -> None:
    foreign = world.served.client.as_(world.served.make_token(projects=(world.foreign,)))
    unknown, forbidden = new_run_id(), str(world.run.id)
    for target in ("/v1/runs/{}", "/v1/runs/{}/points", "/v1/runs/{}/lines"):
        answers = [foreign("GET", target.format(id)) for id in (unknown, forbidden)]
        assert [answer.status for answer in answers] == [404, 404]
        assert answers[0].body.replace(unknown.encode(), b"") == answers[1].body.replace(forbidden.encode(), b"")
    digests = "0" * 64, world.blob
    blobs = [foreign("GET", f"/v1/blobs/{digest}") for digest in digests]
    assert blobs[0].body.replace(digests[0].encode(), b"") == blobs[1].body.replace(digests[1].encode(), b"")


def test_a_route_without_a_scope_keeps_the_server_from_starting(tmp_path) -> None:
    bare = replace(TABLE[0], scope=None)
    with pytest.raises(RouteTableError, match="declares no scope"):
        make_app(Settings(store="memory://", state=str(tmp_path)), [bare])


def test_a_revoked_token_ends_at_once(served: Served) -> None:
    with served.tokens() as tokens:
        text, token = tokens.create("short", scopes=["read"])
        client = served.client.as_(text)
        assert client("GET", "/v1/whoami").status == 200
        tokens.revoke(token.id)
        assert client("GET", "/v1/whoami").status == 401


@contextmanager
def revocable(served: Served) -> Iterator[tuple[Client, Callable[[], None]]]:
    """A client, and what ends its token."""
    with served.tokens() as tokens:
        text, token = tokens.create("long", scopes=["read", "write"])
        yield served.client.as_(text), lambda: tokens.revoke(token.id)


def test_a_download_ends_soon_after_its_token(served: Served) -> None:
    data = secrets.token_bytes(40 * 1024 * 1024)
    target = f"/v1/blobs/{hashlib.sha256(data).hexdigest()}"
    served.client("PUT", target, data, headers={"Content-Type": "application/octet-stream"})
    with revocable(served) as (client, revoke):
        answer = client.pool.request(
            "GET", client.url + target, headers={"Authorization": f"Bearer {client.token}"}, preload_content=False
        )
        assert data.startswith(answer.read(1024))
        revoke()
        time.sleep(2 * RECHECK_SECONDS)
        with pytest.raises(urllib3.exceptions.HTTPError):
            answer.read()
        answer.release_conn()
    assert served.client("GET", "/readyz").status == 200


def test_an_upload_whose_token_ends_stores_nothing(served: Served) -> None:
    data = secrets.token_bytes(4 * 1024 * 1024)
    digest = hashlib.sha256(data).hexdigest()
    with revocable(served) as (client, revoke):

        def parts() -> Iterator[bytes]:
            yield data[: 2 * 1024 * 1024]
            revoke()
            time.sleep(2 * RECHECK_SECONDS)
            yield data[2 * 1024 * 1024 :]

        headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/octet-stream"}
        answer = client.pool.request("PUT", f"{client.url}/v1/blobs/{digest}", body=parts(), headers=headers)
        assert answer.status == 401
    assert served.client("GET", f"/v1/blobs/{digest}").status == 404


def test_tombstones_need_the_scope_delete_wherever_they_come_in(served: Served) -> None:
    record = project()
    writer = served.client.as_(served.make_token("read", "write"))
    assert writer("PUT", f"/v1/projects/{record.id}", encode_record(record)).status == 200
    gone = encode_record(deleted(record))
    assert writer("PUT", f"/v1/projects/{record.id}", gone).status == 403
    batch = b'{"writes":[\n' + gone + b"\n]}"
    answer = writer("POST", "/v1/records/put", batch)
    assert answer.status in (200, 403)
    assert b"AccessDeniedError" in answer.body
    assert writer("GET", f"/v1/projects/{record.id}").json["deleted"] is None

"""The server's own extensions refuse and hide; they never alter what a client sends."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from padre_core.objects.identity import object_id
from padre_http.wire.records import encode_record

from .samples import child, path, project
from .serving import Client, Served, Start

EXTENSION = '''
"""Refuses projects that are called forbidden, and hides those that are called hidden."""

import padre_core as padre


class Rules:
    @padre.hookimpl(wrapper=True)
    def padre_project_create(self, request):
        if request.record.data()["name"] == "forbidden":
            raise padre.AccessDeniedError(f"{request.actor} may not make this")
        return (yield)

    @padre.hookimpl(wrapper=True)
    def padre_project_delete(self, request):
        raise padre.AccessDeniedError("projects stay")
        yield

    @padre.hookimpl
    def padre_prepare(self, request):
        raise AssertionError("a client's record is not altered")

    @padre.hookimpl
    def padre_scope(self, request):
        return 'not tags.hidden == "yes"'
'''


@pytest.fixture(scope="module")
def ruled(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A server that has an extension installed."""
    folder: Path = tmp_path_factory.mktemp("extension")
    (folder / "server_rules.py").write_text(EXTENSION)
    metadata = folder / "server_rules-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: server-rules\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[padre.extensions]\nrules = server_rules:Rules\n")
    return start(environment={"PYTHONPATH": str(folder)})


@pytest.fixture
def client(ruled: Served) -> Client:
    return ruled.client


def put(client: Client, record) -> int:
    return client("PUT", path(record), encode_record(record)).status


def test_an_extension_refuses_in_the_name_of_the_caller(client: Client) -> None:
    record = project("forbidden")
    answer = client("PUT", path(record), encode_record(record))
    assert (answer.status, answer.json["message"]) == (403, "first may not make this")
    batch = client("POST", "/v1/records/put", b'{"writes":[\n' + encode_record(record) + b"\n]}")
    assert b"AccessDeniedError" in batch.body
    assert client("GET", path(record)).status == 404


def test_an_extension_refuses_deletes_however_they_come(client: Client) -> None:
    record = project()
    put(client, record)
    assert client("DELETE", path(record)).status == 403


def test_what_an_extension_hides_is_hidden_everywhere(client: Client) -> None:
    shown, hidden = project(), project(tags={"hidden": "yes"})
    for record in (shown, hidden):
        assert put(client, record) == 200
    assert client("GET", path(shown)).status == 200
    assert client("GET", path(hidden)).status == 404
    listed = client("GET", "/v1/projects").body + client("GET", "/v1/changes").body
    assert shown.id.encode() in listed
    assert hidden.id.encode() not in listed
    found = client("POST", "/v1/records/get", {"refs": [["project", hidden.id], ["project", shown.id]]}).json
    assert [item and item["id"] for item in found["records"]] == [None, shown.id]


def test_a_blob_is_hidden_with_the_objects_that_refer_to_it(ruled: Served, client: Client) -> None:
    digests = []
    for tags in ({}, {"hidden": "yes"}):
        owner = project()
        put(client, owner)
        data = owner.id.encode()
        digests.append(hashlib.sha256(data).hexdigest())
        client("PUT", f"/v1/blobs/{digests[-1]}", data, headers={"Content-Type": "application/octet-stream"})
        file = child("artifact", object_id("artifact", owner.id, "f"), owner, owner=owner.id, owner_kind="project",
                     path="f", digest=digests[-1], size=36, tags=tags)  # fmt: skip
        assert put(client, file) == 200
    other = client.as_(ruled.make_token())  # who brought the bytes may read them
    assert other("POST", "/v1/blobs/has", {"digests": digests}).json == {"digests": digests[:1]}
    assert [other("GET", f"/v1/blobs/{digest}").status for digest in digests] == [200, 404]
    assert digests[1].encode() not in other("GET", "/v1/blobs").body
    assert [client("GET", f"/v1/blobs/{digest}").status for digest in digests] == [200, 200]

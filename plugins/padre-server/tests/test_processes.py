"""Several processes that serve one store behave as one."""

from __future__ import annotations

import hashlib
import threading

import pytest

from padre_core.objects.record import Record
from padre_http.wire.records import encode_record

from .samples import edited, experiment, path, project
from .serving import Client, Served, Start

SERVERS = 4
ROUNDS = 15


@pytest.fixture(scope="module")
def first(start: Start) -> Served:
    return start()


@pytest.fixture(scope="module")
def clients(start: Start, first: Served) -> list[Client]:
    """One client of each of four servers with one store and one state folder."""
    rest = [start(folder=first.folder) for _ in range(SERVERS - 1)]
    return [served.client for served in (first, *rest)]


def put(client: Client, record: Record, etag: str | None = None) -> int:
    headers = {} if etag is None else {"If-Match": f'"{etag}"'}
    return client("PUT", path(record), encode_record(record), headers=headers).status


def test_what_one_acknowledged_all_others_answer(clients: list[Client]) -> None:
    for number in range(ROUNDS):
        record = project()
        assert put(clients[number % SERVERS], record) == 200
        assert [client("GET", path(record)).json["etag"] for client in clients] == [record.etag] * SERVERS
        found = [client("GET", "/v1/projects", where=f'id == "{record.id}"').json["records"] for client in clients]
        assert [len(records) for records in found] == [1] * SERVERS


def test_of_many_edits_of_one_version_one_wins(clients: list[Client]) -> None:
    record = project()
    put(clients[0], record)
    for number in range(ROUNDS):
        statuses: list[int] = []

        def edit(client: Client, who: int, head: Record = record, turn: int = number) -> None:
            statuses.append(put(client, edited(head, title=f"{turn} by {who}"), head.etag))

        threads = [threading.Thread(target=edit, args=(client, who)) for who, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 412, 412, 412]
        head = clients[0]("GET", path(record)).json
        winner = int(head["content"]["title"].split()[-1])
        record = edited(record, title=f"{number} by {winner}")
        assert head["etag"] == record.etag


def test_a_token_is_known_and_revoked_everywhere_at_once(first: Served, clients: list[Client]) -> None:
    def statuses(token: str | None) -> list[int]:
        return [client.as_(token)("GET", "/v1/whoami").status for client in clients]

    old = first.make_token("read")
    fresh = clients[0].as_(old)("POST", "/v1/session/refresh").json["token"]
    assert statuses(fresh) == statuses(old) == [200] * SERVERS
    assert clients[1].as_(fresh)("DELETE", "/v1/session").status == 204
    assert statuses(fresh) == statuses(old) == [401] * SERVERS


def test_an_upload_goes_on_at_any_of_them(clients: list[Client]) -> None:
    parts = [bytes([65 + number]) * 1000 for number in range(SERVERS)]
    upload = f"/v1/uploads/{clients[0]('POST', '/v1/uploads').json['id']}"
    for number, (client, part) in enumerate(zip(clients, parts, strict=True)):
        headers = {"Content-Type": "application/octet-stream", "Upload-Offset": str(1000 * number)}
        assert client("PATCH", upload, part, headers=headers).status == 204
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    assert clients[1]("POST", f"{upload}/commit", {"digest": digest, "size": 4000}).status == 200
    assert clients[2]("GET", f"/v1/blobs/{digest}").body == b"".join(parts)


def test_the_change_feed_is_the_same_everywhere(clients: list[Client]) -> None:
    parent = project()
    put(clients[0], parent)
    for number in range(8):
        put(clients[number % SERVERS], experiment(parent, f"e{number}"))
    feeds = []
    for client in clients:
        entries, cursor, more = [], None, True
        while more:
            part = client("GET", "/v1/changes", **({"cursor": cursor} if cursor else {})).json
            entries += part["entries"]
            cursor, more = part["cursor"], part["more"]
        feeds.append({(kind, id, etag) for kind, id, etag in entries})
    assert feeds[0] == feeds[1] == feeds[2] == feeds[3]

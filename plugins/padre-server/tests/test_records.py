"""Records over HTTP: ETags, conditions, batches, listings, the change feed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from padre_core import ConflictError
from padre_core.backends.backend import Write
from padre_core.backends.bytestore import ABSENT
from padre_core.objects.identity import new_run_id
from padre_http.wire.records import decode_heads, decode_record, decode_results, encode_record, encode_writes
from padre_server.call import FIRST

from .samples import edited, experiment, path, project
from .serving import Client, Served


def put(client: Client, record: Any, **headers: str) -> Any:
    return client(
        "PUT",
        path(record),
        encode_record(record),
        headers={key.replace("_", "-"): value for key, value in headers.items()},
    )


def test_a_record_comes_back_as_it_was_put(client: Client) -> None:
    record = project(metadata={"nan": float("nan"), "text": 'a "quoted", "content":{} é'})
    assert put(client, record).status == 200
    answer = client("GET", path(record))
    assert decode_record(answer.body).content == record.content
    assert answer.headers["ETag"].startswith(f'"{record.etag}')


def test_what_the_client_has_is_not_sent_again(client: Client) -> None:
    record = project()
    put(client, record)
    tag = client("GET", path(record)).headers["ETag"]
    for known in (f"W/{tag}", "*"):  # as a proxy that compresses has it, and as RFC 9110 has it
        assert client("GET", path(record), headers={"If-None-Match": known}).status == 304
    again = client("GET", path(record), headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)


def test_a_write_may_demand_that_nothing_is_there(client: Client) -> None:
    record = project()
    assert put(client, record, If_None_Match="*").status == 200
    again = put(client, edited(record, title="x"), If_None_Match="*")
    assert (again.status, again.error) == (412, "AlreadyExistsError")


def test_a_write_may_demand_the_version_that_it_follows(client: Client) -> None:
    record = project()
    put(client, record)
    newer = edited(record, title="b")
    assert put(client, newer, If_Match=f'"{record.etag}"').status == 200
    assert put(client, edited(record, title="c"), If_Match=f'"{record.etag}"').status == 412
    assert json.loads(client("GET", path(record)).body)["etag"] == newer.etag


def test_a_repeated_write_changes_nothing(client: Client) -> None:
    record = project()
    first, second = put(client, record), put(client, record)
    assert (second.status, second.body) == (200, first.body)


def test_diverged_versions_are_both_kept(client: Client) -> None:
    record = project()
    for version in (record, edited(record, title="left"), edited(record, title="right")):
        assert put(client, version).status == 200
    assert len(client("GET", path(record)).json["conflicts"]) == 1


def test_the_address_must_be_that_of_the_record(client: Client) -> None:
    record = project()
    answer = client("PUT", path(project()), encode_record(record))
    assert (answer.status, answer.error) == (400, "InvalidObjectError")


def test_content_that_does_not_belong_to_its_etag_is_refused(client: Client) -> None:
    record = project()
    forged = encode_record(record).replace(b'"name":"project', b'"name":"another')
    answer = client("PUT", path(record), forged)
    assert (answer.status, answer.error) == (400, "InvalidObjectError")
    assert client("GET", path(record)).status == 404


def test_a_delete_leaves_a_tombstone_in_the_name_of_the_caller(client: Client) -> None:
    record = project()
    put(client, record)
    answer = client("DELETE", path(record))
    assert (answer.status, answer.json["deleted"]["by"]) == (200, "first")
    assert client("GET", path(record)).json["deleted"] == answer.json["deleted"]
    assert client("DELETE", path(record)).json["etag"] == answer.json["etag"]


def test_a_delete_of_another_version_is_refused(client: Client) -> None:
    record = project()
    put(client, record)
    put(client, edited(record, title="newer"))
    assert client("DELETE", path(record), headers={"If-Match": f'"{record.etag}"'}).status == 412


def test_a_batch_stores_each_by_itself(client: Client) -> None:
    there, fresh = project(), project()
    put(client, there)
    writes = [Write(edited(there), ABSENT), Write(fresh, ABSENT)]
    failed, stored = decode_results(client("POST", "/v1/records/put", encode_writes(writes)).body)
    assert isinstance(failed, ConflictError)
    assert not isinstance(stored, ConflictError)


def test_many_are_read_in_the_order_in_which_they_are_asked_for(client: Client) -> None:
    one, other = project(), project()
    for record in (one, other):
        put(client, record)
    refs = [["project", other.id], ["project", project().id], ["project", one.id]]
    found = client("POST", "/v1/records/get", {"refs": refs}).json["records"]
    assert [item and item["id"] for item in found] == [other.id, None, one.id]


def test_many_more_are_read_in_parts(client: Client) -> None:
    parent = project()
    put(client, parent)
    made = [experiment(parent, f"e{number}") for number in range(50)]
    for record in made:
        put(client, record)
    answer = client("POST", "/v1/records/get", {"refs": [["experiment", record.id] for record in made]})
    assert [head and head.id for head in decode_heads(answer.body)] == [record.id for record in made]


def test_listings_filter_order_and_page(client: Client) -> None:
    parent = project()
    put(client, parent)
    for number in range(45):
        put(client, experiment(parent, f"e{number:02}", tags={"odd": str(number % 2)}))
    query: dict[str, Any] = {"within": parent.id, "where": 'tags.odd == "1"', "order_by": "-name", "limit": 21}
    first = client("GET", "/v1/experiments", **query).json
    second = client("POST", "/v1/experiments/search", {**query, "cursor": first["cursor"]}).json
    names = [item["content"]["name"] for page in (first, second) for item in page["records"]]
    assert names == [f"e{number:02}" for number in range(43, 0, -2)]
    assert second["cursor"] is None
    assert client("GET", "/v1/experiments/count", within=parent.id, where='tags.odd == "1"').json == {"count": 22}
    assert client("POST", "/v1/experiments/count", {"within": parent.id}).json == {"count": 45}


def test_a_malformed_filter_says_where(client: Client) -> None:
    answer = client("GET", "/v1/runs", where="parameters.x ==")
    assert (answer.status, answer.error) == (400, "InvalidObjectError")


def test_the_change_feed_goes_on_where_it_ended(client: Client) -> None:
    cursor = None
    more = True
    while more:
        part = client("GET", "/v1/changes", **({"cursor": cursor} if cursor else {})).json
        cursor, more = part["cursor"], part["more"]
    record = project()
    put(client, record)
    assert client("GET", "/v1/changes", cursor=cursor).json["entries"] == [["project", record.id, record.etag]]


def test_what_the_client_claims_of_summaries_and_envelopes_is_not_stored(client: Client) -> None:
    record = project()
    body = encode_record(record)[: -len(record.content) - len(',"content":') - 1]
    claimed = body + b',"envelope":"{\\"x\\":1}","content":' + record.content + b"}"
    assert client("PUT", path(record), claimed).status == 200
    assert client("GET", path(record)).json["envelope"] == "{}"


def test_an_envelope_may_demand_that_nothing_was_written_meanwhile(client: Client) -> None:
    record = project()
    version = put(client, record).json["version"]
    assert client("PUT", f"{path(record)}/envelope", {"a": 1}, if_version=version).status == 200
    assert client("PUT", f"{path(record)}/envelope", {"a": 2}, if_version=version).status == 409
    assert client("GET", path(record)).json["envelope"] == '{"a":1}'


def test_envelopes_are_for_those_who_administer_the_store(served: Served, client: Client) -> None:
    record = project()
    put(client, record)
    assert client("PUT", f"{path(record)}/envelope", {"remotes": {}}).json["envelope"] == '{"remotes":{}}'
    reader = client.as_(served.make_token("read", "write"))
    assert "envelope" not in reader("GET", path(record)).json
    assert reader("PUT", f"{path(record)}/envelope", {}).status == 403


@pytest.mark.parametrize("folder", ["nothing", "run", "RUNS"])
def test_unknown_kinds_are_not_found(client: Client, folder: str) -> None:
    assert client("GET", f"/v1/{folder}").status == 404
    assert client("GET", f"/v1/{folder}/{new_run_id()}").status == 404


def test_large_objects_come_in_short_pages(client: Client) -> None:
    parent = project()
    put(client, parent)
    for number in range(FIRST + 4):
        assert put(client, experiment(parent, f"e{number}", metadata={"large": "x" * 1_000_000})).status == 200
    page = client("GET", "/v1/experiments", within=parent.id)
    assert len(page.body) < (FIRST + 2) * 1_000_000
    rest = client("GET", "/v1/experiments", within=parent.id, cursor=page.json["cursor"]).json
    assert len(page.json["records"]) + len(rest["records"]) == FIRST + 4


def test_the_place_of_the_store_is_told_to_nobody(served: Served, client: Client) -> None:
    for target in (f"/v1/runs/{new_run_id()}", f"/v1/blobs/{'0' * 64}"):
        answer = client("GET", target)
        assert answer.status == 404
        assert str(served.folder).encode() not in answer.body

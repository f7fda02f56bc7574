"""What a caller who is limited to a project sees of the rest: what his project refers to, and nothing else."""

from __future__ import annotations

import hashlib
import io
import secrets
from dataclasses import dataclass, replace

import pytest

import padre_core as padre
from padre_core.backends.backend import Segment, Write
from padre_core.objects import canonical
from padre_core.objects.identity import new_run_id, object_id, run_child_id
from padre_core.objects.record import Record, first
from padre_core.streams.columns import make_points
from padre_http.wire.records import decode_results, encode_record, encode_writes
from padre_http.wire.streams import SEGMENTS, decode_parts, encode_parts

from .samples import AT, child, edited, experiment, path, project
from .serving import Answer, Client, Served

BYTES = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Sides:
    """Two projects, each with a caller who is limited to it."""

    ours: Record
    theirs: Record
    us: Client
    them: Client
    all: Client


@pytest.fixture
def sides(served: Served) -> Sides:
    ours, theirs = project(), project()
    for record in (ours, theirs):
        put(served.client, record)
    us, them = (served.client.as_(served.make_token(projects=(record.id,))) for record in (ours, theirs))
    return Sides(ours, theirs, us, them, served.client)


def put(client: Client, record: Record) -> Answer:
    return client("PUT", path(record), encode_record(record))


def blob(client: Client, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    assert client("PUT", f"/v1/blobs/{digest}", data, headers=BYTES).status == 200
    return digest


def alone(kind: str, *key: str, **content: object) -> Record:
    text = canonical.to_json(canonical.plain(content))
    return first(kind, object_id(kind, None, *key), text, (), by="test", at=AT)


def dataset(name: str, **content: object) -> Record:
    return alone("dataset", name, "1", name=name, version="1", **content)


def artifact(owner: Record, digest: str, name: str = "file") -> Record:
    content = {"owner": owner.id, "owner_kind": owner.kind, "path": name, "digest": digest, "size": 1}
    return child("artifact", object_id("artifact", owner.id, name), owner, **content)


def ids(answer: Answer) -> set[str]:
    return {record["id"] for record in answer.json["records"]}


def test_lists_counts_and_feeds_show_one_project_only(sides: Sides) -> None:
    mine, other = experiment(sides.ours), experiment(sides.theirs)
    assert put(sides.us, mine).status == put(sides.them, other).status == 200
    assert ids(sides.us("GET", "/v1/experiments")) == {mine.id}
    assert ids(sides.us("GET", "/v1/projects")) == {sides.ours.id}
    assert ids(sides.us("POST", "/v1/experiments/search", {"where": 'name == "svc"'})) == {mine.id}
    assert sides.us("GET", "/v1/experiments/count").json == {"count": 1}
    assert sides.us("GET", "/v1/experiments/count", within=sides.theirs.id).json == {"count": 0}
    entries = sides.us("GET", "/v1/changes").json["entries"]
    assert {id for _, id, _ in entries} == {sides.ours.id, mine.id}
    heads = sides.us("POST", "/v1/records/get", {"refs": [["experiment", mine.id], ["experiment", other.id]]}).json
    assert [head and head["id"] for head in heads["records"]] == [mine.id, None]


def test_pages_of_a_limited_caller_are_full(sides: Sides) -> None:
    for number in range(10):
        put(sides.us, experiment(sides.ours, f"mine {number}"))
        put(sides.them, experiment(sides.theirs, f"theirs {number}"))
    first = sides.us("GET", "/v1/experiments", limit=7)
    rest = sides.us("GET", "/v1/experiments", limit=7, cursor=first.json["cursor"])
    assert [len(ids(page)) for page in (first, rest)] == [7, 3]


def test_a_filter_cannot_reach_beyond_the_project(sides: Sides) -> None:
    other = experiment(sides.theirs, "hidden")
    put(sides.them, other)
    for where in (f'id == "{other.id}"', f'name == "x" or within."{sides.theirs.id}" == true', 'not name == "svc"'):
        assert ids(sides.us("GET", "/v1/experiments", where=where)) == set()


def test_nothing_can_be_put_into_or_taken_from_another_project(sides: Sides) -> None:
    other = experiment(sides.theirs)
    put(sides.them, other)
    assert put(sides.us, experiment(sides.theirs, "intruder")).status == 404
    assert put(sides.us, edited(other, title="mine now")).status == 404
    assert put(sides.us, edited(sides.theirs, title="mine now")).status == 404
    assert sides.us("DELETE", path(other)).status == 404
    assert sides.all("GET", path(other)).json["etag"] == other.etag


def test_an_object_cannot_claim_to_lie_elsewhere_than_it_does(sides: Sides) -> None:
    mine, other = experiment(sides.ours), experiment(sides.theirs)
    put(sides.us, mine), put(sides.them, other)
    # The content says it belongs to their experiment, the ancestors say ours.
    smuggled = child(
        "execution", object_id("execution", other.id, "c"), mine, experiment=other.id, code=str(new_run_id())
    )
    assert put(sides.us, smuggled).status == 400
    run = child("run", new_run_id(), other, execution=other.id)
    put(sides.all, run)
    metric = child("metric", run_child_id(run.id, "metric", "loss"), mine, name="loss", run=run.id)
    assert put(sides.us, metric).status in (400, 404)


def test_a_moved_parent_chain_must_be_real(sides: Sides) -> None:
    fake = child("experiment", object_id("experiment", sides.ours.id, "x"), project(), name="x", project=sides.ours.id)
    assert put(sides.us, replace(fake, ancestors=(sides.theirs.id, sides.ours.id))).status == 404


def test_a_blob_is_seen_by_those_whose_objects_refer_to_it(sides: Sides) -> None:
    data = secrets.token_bytes(30)
    digest = blob(sides.us, data)
    assert put(sides.us, artifact(sides.ours, digest)).status == 200
    assert sides.us("GET", f"/v1/blobs/{digest}").body == data
    assert sides.them("GET", f"/v1/blobs/{digest}").status == 404
    assert sides.them("POST", "/v1/blobs/has", {"digests": [digest]}).json == {"digests": []}
    assert data not in sides.them("POST", "/v1/blobs/get", {"digests": [digest]}).body
    assert data in sides.us("POST", "/v1/blobs/get", {"digests": [digest]}).body
    assert digest.encode() not in sides.them("GET", "/v1/blobs").body
    assert digest.encode() in sides.us("GET", "/v1/blobs").body


def test_streams_of_many_runs_are_those_of_ones_own_projects(sides: Sides) -> None:
    runs = [child("run", new_run_id(), above, execution=above.id) for above in (sides.ours, sides.theirs)]
    assert [put(sides.all, run).status for run in runs] == [200, 200]
    parts = [(run.id, Segment("a" * 16, 0, make_points("loss", [1.0, 2.0], None, None, 0))) for run in runs]
    assert append(sides.us, parts).status == 404
    assert read(sides.all, runs) == []
    assert append(sides.all, parts).json == {"count": 4}
    assert read(sides.us, runs) == [(runs[0].id, 2)]
    assert read(sides.all, runs) == [(run.id, 2) for run in runs]


def append(client: Client, parts: list[tuple[str, Segment]]) -> Answer:
    return client("POST", "/v1/streams", b"".join(encode_parts(parts)), headers={"Content-Type": SEGMENTS})


def read(client: Client, runs: list[Record]) -> list[tuple[str, int]]:
    answer = client("POST", "/v1/streams/read", {"stream": "points", "known": {run.id: {} for run in runs}})
    return [(run, len(part.columns)) for run, part in decode_parts(io.BytesIO(answer.body).read)]


def test_another_caller_of_the_same_project_sees_the_blob_too(served: Served, sides: Sides) -> None:
    data = secrets.token_bytes(30)
    digest = blob(sides.us, data)
    colleague = sides.us.as_(served.make_token("read", projects=(sides.ours.id,)))
    assert colleague("GET", f"/v1/blobs/{digest}").status == 404
    put(sides.us, artifact(sides.ours, digest))
    assert colleague("GET", f"/v1/blobs/{digest}").body == data


def test_a_digest_is_no_permission(sides: Sides) -> None:
    digest = blob(sides.them, secrets.token_bytes(30))
    put(sides.them, artifact(sides.theirs, digest))
    assert put(sides.us, artifact(sides.ours, digest)).status == 404, "to refer to it would make it readable"
    assert sides.us("GET", f"/v1/blobs/{digest}").status == 404
    upload = sides.us("POST", "/v1/uploads").json["id"]
    assert sides.us("POST", f"/v1/uploads/{upload}/commit", {"digest": digest, "size": 30}).status == 400
    assert sides.us("POST", f"/v1/uploads/{'0' * 32}/commit", {"digest": digest, "size": 30}).status == 404


def test_who_has_the_whole_content_may_bring_it_too(sides: Sides) -> None:
    data = secrets.token_bytes(30)
    blob(sides.them, data)
    digest = blob(sides.us, data)
    assert put(sides.us, artifact(sides.ours, digest)).status == 200


def test_a_shared_dataset_is_seen_by_those_who_refer_to_it(sides: Sides) -> None:
    secret = secrets.token_bytes(30)
    digest = blob(sides.them, secret)
    shared = dataset(f"shared {digest[:8]}", formats={"csv": {"digest": digest, "size": 30}})
    assert put(sides.them, shared).status == 200
    assert put(sides.them, experiment(sides.theirs, datasets=[shared.id])).status == 200
    assert sides.us("GET", path(shared)).status == 404
    assert ids(sides.us("GET", "/v1/datasets")) == set()
    assert ids(sides.them("GET", "/v1/datasets")) == {shared.id}
    assert sides.them("GET", "/v1/datasets/count").json == {"count": 1}
    # Somebody who sees everything lets our project refer to it.
    put(sides.all, experiment(sides.ours, datasets=[shared.id]))
    assert ids(sides.us("GET", "/v1/datasets")) == {shared.id}
    assert sides.us("GET", path(shared)).status == 200
    assert sides.us("GET", f"/v1/blobs/{digest}").body == secret


def test_a_reference_to_a_hidden_object_is_refused(sides: Sides) -> None:
    shared = dataset(f"hidden {secrets.token_hex(4)}")
    put(sides.them, shared)
    assert put(sides.us, experiment(sides.ours, datasets=[shared.id])).status == 404
    other = experiment(sides.theirs, "base")
    put(sides.them, other)
    mine = experiment(sides.ours)
    put(sides.us, mine)
    assert sides.us("GET", path(shared)).status == 404


def test_a_shared_object_is_not_changed_by_those_who_cannot_see_it(sides: Sides) -> None:
    shared = dataset(f"shared {secrets.token_hex(4)}")
    put(sides.them, shared)
    assert put(sides.us, edited(shared, title="mine")).status == 404
    assert sides.us("DELETE", path(shared)).status == 404
    assert put(sides.us, shared).status == 200, "the very same may be brought by anybody"
    assert sides.us("GET", path(shared)).status == 200


def test_what_a_project_no_longer_refers_to_is_hidden_again(sides: Sides) -> None:
    shared = dataset(f"shared {secrets.token_hex(4)}")
    put(sides.all, shared)
    mine = experiment(sides.ours, datasets=[shared.id])
    put(sides.all, mine)
    assert sides.us("GET", path(shared)).status == 200
    put(sides.all, edited(mine, datasets=[]))
    assert sides.us("GET", path(shared)).status == 404


def test_an_object_of_another_project_is_hidden_even_if_ours_refers_to_it(sides: Sides) -> None:
    theirs = child("dataset", object_id("dataset", sides.theirs.id, "d", "1"), sides.theirs, name="d", version="1",
                   project=sides.theirs.id)  # fmt: skip
    put(sides.all, theirs)
    put(sides.all, experiment(sides.ours, datasets=[theirs.id]))
    assert sides.us("GET", path(theirs)).status == 404
    assert ids(sides.us("GET", "/v1/datasets")) == set()


def test_a_whole_run_can_be_tracked_with_a_limited_token(sides: Sides) -> None:
    """Records in the order in which services write them, of a run with code, points and a file."""
    named = padre.Code(type="file", file="train.py", digest=hashlib.sha256(secrets.token_bytes(4)).hexdigest())
    code = alone("code", *map(str, named.key()), type="file", file=named.file, digest=named.digest)
    assert put(sides.us, code).status == 200
    mine = experiment(sides.ours)
    assert put(sides.us, mine).status == 200
    execution = child("execution", object_id("execution", mine.id, code.id), mine, experiment=mine.id, code=code.id)
    assert put(sides.us, execution).status == 200
    run = child("run", new_run_id(), execution, execution=execution.id, status="running")
    assert put(sides.us, run).status == 200
    digest = blob(sides.us, b"weights" + secrets.token_bytes(4))
    file = child("artifact", run_child_id(run.id, "artifact", "w"), run, owner=run.id, path="w", digest=digest, size=11)
    assert put(sides.us, file).status == 200
    assert put(sides.us, edited(run, status="finished")).status == 200
    assert ids(sides.us("GET", "/v1/codes")) == {code.id}
    assert sides.them("GET", path(code)).status == 404


def test_a_project_may_be_made_by_a_token_that_names_it(served: Served) -> None:
    fresh = project()
    client = served.client.as_(served.make_token(projects=(fresh.id,)))
    assert put(client, fresh).status == 200
    assert put(client, project()).status == 404
    assert client("GET", path(fresh)).status == 200


def test_nobody_takes_the_place_of_what_another_project_will_make(sides: Sides) -> None:
    coming = experiment(sides.theirs, "coming")
    squatter = child("experiment", coming.id, sides.ours, name="mine", project=sides.ours.id)
    assert put(sides.us, squatter).status == 400
    assert put(sides.us, replace(dataset("mine"), id=dataset("coming").id)).status == 400
    assert put(sides.them, coming).status == 200


def test_a_writer_who_reads_nothing_can_write_everywhere(served: Served, sides: Sides) -> None:
    writer = sides.all.as_(served.make_token("write"))
    record = experiment(sides.ours, datasets=[dataset("anything").id])
    assert put(writer, record).status == 200
    assert writer("GET", path(record)).status == 403


def test_in_a_batch_each_may_refer_to_those_before_it(sides: Sides) -> None:
    shared = dataset(f"batch {secrets.token_hex(4)}")
    mine, theirs = experiment(sides.ours, datasets=[shared.id]), experiment(sides.theirs)
    body = encode_writes([Write(record) for record in (shared, mine, theirs)])
    results = decode_results(sides.us("POST", "/v1/records/put", body).body)
    assert [type(result).__name__ for result in results] == ["Record", "Record", "NotFoundError"]


def test_pages_go_on_while_more_becomes_visible_and_less(sides: Sides) -> None:
    tag = secrets.token_hex(4)
    made = [dataset(f"page {number} {tag}") for number in range(6)]
    for record in made:
        put(sides.all, record)
    refer = experiment(sides.ours, datasets=[record.id for record in made[:5]])
    put(sides.all, refer)
    first = sides.us("GET", "/v1/datasets", limit=2, order_by="name").json
    put(sides.all, edited(refer, datasets=[record.id for record in (*made[:2], *made[3:])]))
    rest, cursor = [], first["cursor"]
    while cursor:
        page = sides.us("GET", "/v1/datasets", limit=2, order_by="name", cursor=cursor)
        rest += [record["id"] for record in page.json["records"]]
        cursor = page.json["cursor"]
    assert rest == [made[3].id, made[4].id]
    theirs = sides.them("GET", "/v1/datasets", limit=2, order_by="name", cursor=first["cursor"])
    assert theirs.status == 400 or ids(theirs) == set(), "another's cursor shows nothing"
    assert sides.us("GET", "/v1/datasets", cursor="0" * 32 + ".x").status == 400

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core import errors
from padre_core.backends.backend import Change, Changes, Info, Problem
from padre_core.backends.capabilities import Capabilities
from padre_core.errors import BackendError, ConflictError, InvalidObjectError, PadreError, UnavailableError
from padre_core.query import parse, parse_order
from padre_core.query.model import Deleted, Query
from padre_core.testing import samples
from padre_http.secret import Secret
from padre_http.wire import blobs, info, queries
from padre_http.wire.errors import decode_error, encode_error, error_from_answer, error_to_answer

CLASSES = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, PadreError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_comes_out_as_it_went_in(kind: type[PadreError]) -> None:
    answer = error_to_answer(kind("what happened: 数 \udc80"))
    found = error_from_answer(answer.status, answer.body, "https://lab")
    assert (type(found), str(found)) == (kind, "what happened: 数 \\udc80")
    assert 400 <= answer.status < 600


def test_a_gap_says_what_is_expected() -> None:
    found = decode_error(encode_error(ConflictError("a gap", next=7)))
    assert isinstance(found, ConflictError)
    assert found.next == 7


def test_an_error_of_a_plugin_comes_out_as_the_nearest_of_core() -> None:
    class PluginsOwn(errors.NotFoundError):
        pass

    assert type(decode_error(encode_error(PluginsOwn("x")))) is errors.NotFoundError


def test_a_failed_condition_has_a_status_of_its_own() -> None:
    assert error_to_answer(ConflictError("x")).status == 409
    assert error_to_answer(ConflictError("x"), conditional=True).status == 412
    assert error_to_answer(errors.AuthenticationError("x")).headers["WWW-Authenticate"] == "Bearer"
    assert error_to_answer(UnavailableError("x")).headers["Retry-After"]


@given(st.integers(400, 599), st.binary(max_size=50))
def test_an_answer_that_is_not_from_padre_is_an_error_by_its_status(status: int, body: bytes) -> None:
    found = error_from_answer(status, body, "https://lab")
    assert "https://lab" in str(found)
    assert isinstance(found, UnavailableError) == (status in (408, 429) or status >= 502)


def test_an_unknown_class_is_a_failure_of_the_store() -> None:
    assert type(decode_error(b'{"error":"SystemExit","message":"x"}')) is BackendError


def test_a_query_comes_back_as_it_is() -> None:
    query = Query(
        where=parse('metrics."train/loss".last > 0.5 and not (tags.stage == "draft" or parameters.C in (1, 2))', "run"),
        within=samples.run().id,
        order=parse_order('-metrics."train/loss".last, name', "run"),
        limit=7,
        cursor="abc",
        deleted=Deleted.ONLY,
    )
    assert queries.decode_query("run", queries.encode_query(query)) == query
    assert queries.decode_query("run", queries.encode_query(Query())) == Query()
    assert queries.decode_query("run", b"") == Query()


def test_a_query_may_stand_in_an_address() -> None:
    found = queries.query_of("run", {"where": "status == 'running'", "order_by": "-name", "limit": "5000"})
    assert found == Query(where=parse("status == 'running'", "run"), order=parse_order("-name", "run"))


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "x"},
        {"limit": "9" * 50},
        {"limit": "\u0661"},
        {"within": "../x"},
        {"deleted": "maybe"},
        {"where": "nonsense =="},
        {"where": "parameters.x == " + "(" * 5000},
        {"were": "x"},
        {"cursor": "x" * 100_000},
    ],
)
def test_other_queries_are_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(InvalidObjectError):
        queries.query_of("run", parameters)


def test_changes_come_back_as_they_are() -> None:
    changes = Changes((Change("run", "a", "1-b"), Change("x", "", "")), "cursor", more=True, reset=True)
    assert queries.decode_changes(queries.encode_changes(changes)) == changes
    assert queries.decode_count(queries.encode_count(7)) == 7


def named(blobs_: list[bytes]) -> list[tuple[str, bytes]]:
    return [(hashlib.sha256(data).hexdigest(), data) for data in blobs_]


def test_blobs_come_back_with_their_digests() -> None:
    sent = [b"", b"a", bytes(range(256)) * 100]
    found = [(digest, bytes(data)) for digest, data in blobs.decode_blobs(blobs.encode_blobs(named(sent)))]
    assert found == [(hashlib.sha256(data).hexdigest(), data) for data in sent]


def many(blobs_: list[bytes]) -> bytes:
    return b"".join(blobs.encode_many(named(blobs_)))


def test_an_answer_of_many_blobs_comes_in_parts_and_is_read_as_it_comes() -> None:
    sent = [b"", b"a", bytes(blobs.PART), *(b"%d" % number for number in range(5000))]
    parts = list(blobs.encode_many(named(sent)))
    assert len(parts) > 2
    assert [data for _, data in blobs.decode_many(io.BytesIO(b"".join(parts)).read)] == sent
    assert list(blobs.decode_many(io.BytesIO(many([])).read)) == []


@given(st.data())
def test_an_answer_of_many_blobs_that_was_cut_gives_those_before_and_says_so(data: st.DataObject) -> None:
    sent = [b"first", b"second"]
    whole = many(sent)
    found = []
    with pytest.raises(UnavailableError):
        found.extend(blobs.decode_many(io.BytesIO(whole[: data.draw(st.integers(0, len(whole) - 1))]).read))
    assert found in ([], named(sent)[:1], named(sent))


@given(st.binary(max_size=20), st.integers(0, 80), st.integers(0, 20))
def test_bytes_of_a_damaged_body_are_under_another_digest_than_theirs(noise: bytes, start: int, length: int) -> None:
    sent = [b"first blob", b"second blob"]
    data = blobs.encode_blobs(named(sent))
    found = []
    with contextlib.suppress(InvalidObjectError):
        found.extend(blobs.decode_blobs(data[:start] + noise + data[start + length :]))
    assert {blob for digest, blob in found if hashlib.sha256(blob).hexdigest() == digest} <= {*sent, b""}


def test_a_listing_comes_back_whole_or_not_at_all() -> None:
    digests = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(2500)]
    lines = b"".join(blobs.encode_listing(digests)).splitlines(keepends=True)
    assert list(blobs.decode_listing(lines)) == digests
    with pytest.raises(UnavailableError):
        list(blobs.decode_listing(lines[:-1]))
    with pytest.raises(InvalidObjectError):
        list(blobs.decode_listing([b"../../etc/passwd\n"]))


def test_uploads_come_back_as_they_are() -> None:
    upload, commit = blobs.Upload("x" * 20, 7), blobs.Commit("0" * 64, 9)
    assert blobs.decode_upload(blobs.encode_upload(upload)) == upload
    assert blobs.decode_commit(blobs.encode_commit(commit)) == commit
    assert blobs.decode_digests(blobs.encode_digests(["0" * 64])) == ["0" * 64]
    for text in (b'{"id":"../../x","offset":0}', b'{"id":"xxxxxxxxxxxxxxxxxxxx","offset":-1}', b"[]"):
        with pytest.raises(InvalidObjectError):
            blobs.decode_upload(text)


def test_a_server_tells_what_its_store_is_but_not_where() -> None:
    capabilities = Capabilities(persistent=True, history=True, planned=frozenset({"presign"}))
    behind = Info("file:///data/lab", "id", 1, "power", False, capabilities, {"path": "/data/lab"})
    server = info.ServerInfo(version="0.1.0", store=info.StoreInfo.of(behind))
    data = info.encode_model(server)
    assert b"/data/lab" not in data
    found = info.decode_info(data)
    assert found == server
    assert found.store is not None
    seen = found.store.info("padre+https://lab")
    assert seen.capabilities == Capabilities(persistent=True, history=True, shared=True, planned=frozenset({"presign"}))
    assert (seen.store, seen.durability, seen.url) == ("id", "power", "padre+https://lab")


def test_what_takes_the_store_itself_is_no_capability_of_a_client() -> None:
    capabilities = Capabilities(persistent=True, presign=True, eviction=True)
    behind = Info("s3://bucket/lab", "id", 1, "spooled", False, capabilities)
    seen = info.StoreInfo.of(behind).info("padre+https://lab")
    assert seen.capabilities == Capabilities(persistent=True, shared=True)


def test_a_session_comes_back_and_does_not_show_its_token() -> None:
    session = info.Session(user="ada", scopes=("read",), projects=("*",), token=Secret("padre_secret"))
    found = info.decode_session(info.encode_model(session))
    assert found == session
    assert found.token.reveal() == "padre_secret"
    for shown in (repr(found), str(found), f"{found}", repr(vars(found))):
        assert "padre_secret" not in shown


def test_sign_in_comes_back_as_it_is() -> None:
    data = info.encode_sign_in("ada", Secret("pass"))
    assert json.loads(data) == {"name": "ada", "password": "pass"}
    assert info.decode_sign_in(data) == ("ada", Secret("pass"))


def test_a_secret_cannot_be_shown_or_stored_by_accident() -> None:
    secret = Secret("padre_secret")
    assert {repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret} == {"***"}  # noqa: UP031
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_problems_and_live_runs_come_back_as_they_are() -> None:
    problem = Problem("corrupt", "runs/x", "damaged", quarantined=True)
    assert info.decode_problem(info.encode_problem(problem)) == problem
    for runs in (None, set(), {"a", "b"}):
        assert info.decode_runs(info.encode_runs(runs)) == runs

"""What the index promises beside its answers to queries."""

from __future__ import annotations

import base64
import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from padre_core.backends import index_search
from padre_core.backends.index import Index
from padre_core.errors import BackendError, InvalidObjectError, UnavailableError
from padre_core.objects import canonical
from padre_core.objects.identity import object_id
from padre_core.objects.record import Record, Tombstone, first
from padre_core.objects.summary import summarise
from padre_core.query import Deleted, Field, Matches, Query, parse, parse_order, wildcard

AT = "2026-11-23T10:00:00.000000Z"
GONE = Tombstone("deletion", AT)
PROJECT = object_id("project", None, "p")
EXPERIMENT = object_id("experiment", PROJECT, "e")
EXECUTION = object_id("execution", EXPERIMENT, "c")


def run(number: int, *, version: int = 1, **parameters: object) -> Record:
    content = canonical.to_json({"execution": EXECUTION, "parameters": parameters})
    id = object_id("run", None, str(number))
    return replace(first("run", id, content, (PROJECT, EXPERIMENT, EXECUTION), by=None, at=AT), version=version)


def container(kind: str, id: str, *ancestors: str, version: int = 1) -> Record:
    return replace(first(kind, id, b"{}", ancestors, by=None, at=AT), version=version)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.sqlite"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    index = Index(path)
    yield index
    index.close()


def listed(index: Index, **query: object) -> set[str]:
    return {record.id for record in index.query("run", Query(**query)).records}  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was_put(index: Index) -> None:
    record = replace(run(1, x=1), envelope={"lab": {"url": "u"}}, summaries=(summarise("m", "w", [0], [0], [1.0]),))
    assert index.put([record]) == 1
    assert index.get("run", record.id) == record
    assert index.query("run", Query()).records == (record,)


def test_what_never_came_is_none(index: Index) -> None:
    assert index.get("run", EXECUTION) is None
    assert index.get("run", "no id") is None


def test_the_greater_version_stays_in_whatever_order_they_come(index: Index) -> None:
    old, new = run(1, x=1), run(1, x=2, version=2)
    assert index.put([new, old]) == 1
    assert index.put([old, new]) == 0
    assert index.get("run", new.id) == new
    assert index.count("run", Query(where=parse("parameters.x == 1"))) == 0


def test_only_news_move_the_change_feed(index: Index) -> None:
    index.put([run(1), run(2)])
    start = index.changes(None, 10)
    assert [entry.id for entry in start.entries] == [run(1).id, run(2).id]
    index.put([run(1), run(2)])
    assert index.changes(start.cursor, 10).entries == ()
    index.put([run(1, version=2)])
    assert [entry.id for entry in index.changes(start.cursor, 10).entries] == [run(1).id]
    assert [entry.id for entry in index.changes(None, 10).entries] == [run(2).id, run(1).id]


def test_the_change_feed_comes_in_parts(index: Index) -> None:
    index.put(run(number) for number in range(5))
    seen, cursor, more = [], None, True
    while more:
        part = index.changes(cursor, 2)
        seen += [entry.id for entry in part.entries]
        cursor, more = part.cursor, part.more
    assert seen == [run(number).id for number in range(5)]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        ":",
        "other:3",
        "{id}:",
        "{id}:x",
        "{id}:-1",
        "{id}:99",
        "{id}:\u0663",
        "{id}",
        pytest.param("{id}:" + "9" * 5000, id="huge"),
    ],
)
def test_a_strange_change_cursor_begins_anew_and_says_so(index: Index, cursor: str) -> None:
    index.put([run(1)])
    part = index.changes(cursor.format(id=index.id), 10)
    assert part.reset
    assert len(part.entries) == 1


def test_summaries_of_live_runs_are_seen_by_filters_and_only_grow(index: Index) -> None:
    record = run(1)
    index.put([record])
    some, more = (summarise("loss", "w", range(n), range(n), [1.0 / (i + 1) for i in range(n)]) for n in (2, 4))
    index.put_summaries(record.id, [more])
    index.put_summaries(record.id, [some])
    index.put([replace(record, version=2)])
    assert index.count("run", Query(where=parse("metrics.loss.last == 0.25 and metrics.loss.count == 4"))) == 1
    found = index.get("run", record.id)
    assert found is not None
    assert (found.version, found.summaries) == (2, (more,))


def test_summaries_may_come_before_their_run(index: Index) -> None:
    index.put_summaries(run(1).id, [summarise("loss", "a", [0], [0], [1.0])])
    index.put_summaries(run(1).id, [summarise("loss", "b", [1], [1], [2.0])])
    index.put([run(1)])
    assert index.count("run", Query(where=parse("metrics.loss.count == 2"))) == 1


def test_a_deleted_ancestor_hides_and_its_return_shows_all_below(index: Index) -> None:
    metric = container("metric", f"{run(1).id}-{'0' * 16}", PROJECT, EXPERIMENT, EXECUTION, run(1).id)
    project = container("project", PROJECT)
    index.put([run(1), metric, project, replace(run(2), deleted=GONE)])
    assert listed(index) == {run(1).id}
    index.put([replace(project, version=2, deleted=GONE), run(3)])
    for wanted, runs, metrics in ((Deleted.EXCLUDE, 0, 0), (Deleted.ONLY, 3, 1), (Deleted.INCLUDE, 3, 1)):
        assert index.count("run", Query(deleted=wanted)) == runs
        assert index.count("metric", Query(deleted=wanted)) == metrics
    index.put([replace(project, version=3)])
    assert listed(index) == {run(1).id, run(3).id}
    assert listed(index, deleted=Deleted.ONLY) == {run(2).id}
    assert index.count("metric", Query()) == 1


def test_a_run_that_moves_is_found_where_it_is_now(index: Index) -> None:
    other = object_id("experiment", PROJECT, "other")
    index.put([run(1)])
    index.put([replace(run(1, version=2), ancestors=(PROJECT, other))])
    assert listed(index, within=EXPERIMENT) == set()
    assert listed(index, within=other) == listed(index, within=PROJECT) == {run(1).id}


def test_what_was_removed_was_never_there(index: Index) -> None:
    index.put([replace(container("project", PROJECT), deleted=GONE), run(1, x=1)])
    index.remove("project", PROJECT)
    index.remove("project", PROJECT)
    assert listed(index, where=parse("parameters.x == 1")) == {run(1).id}
    assert index.size() == 1


def test_a_failed_transaction_leaves_nothing(index: Index) -> None:
    def failing() -> Iterator[Record]:
        yield run(1, fresh=1)
        raise LookupError

    def outer() -> None:
        with index.transaction():
            index.set_source("log", 5)
            index.put(failing())

    for act in (outer, lambda: index.put(failing())):
        with pytest.raises(LookupError):
            act()
    assert (index.size(), index.sources()) == (0, {})
    index.put([run(1, fresh=1)])
    assert listed(index, where=parse("parameters.fresh == 1")) == {run(1).id}


def test_sources_and_stamps_are_kept(index: Index, path: Path) -> None:
    with index.transaction():
        index.put([run(1), run(2)], stamps={("run", run(1).id): "s1"})
        index.set_source("log/a", 7)
        index.set_source("log/b", 8)
        index.drop_source("log/b")
    index.put([run(1)], stamps={("run", run(1).id): "s2"})
    index.put([run(1, version=2)])
    index.close()
    again = Index(path)
    assert again.sources() == {"log/a": 7}
    assert list(again.stamps()) == [("run", run(1).id, "s2")]
    again.close()


def test_clear_makes_another_index_of_it(index: Index, path: Path) -> None:
    other = Index(path)
    index.put([run(1, x=1)])
    other.put([run(2, x=1)])
    before = index.id
    index.clear()
    assert index.id != before
    assert (index.size(), other.size(), other.id) == (0, 0, index.id)
    other.put([run(3, y=1, x=2)])
    assert listed(index, where=parse("parameters.x == 2")) == {run(3).id}
    other.close()


def encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.parametrize("cursor", ["", "x", "é", "a" * 100_000, encoded(b"[" * 5000), encoded(b"\xff")])
def test_what_is_no_cursor_is_refused(index: Index, cursor: str) -> None:
    with pytest.raises(InvalidObjectError, match="malformed cursor"):
        index.query("run", Query(cursor=cursor))


@pytest.mark.parametrize(
    "content",
    [
        'null', '[]', '["other", [[0, 1]], "ID"]', '["SEAL", [[0, 1]], "no id"]', '["SEAL", [], "ID"]',
        '["SEAL", [[0, 1], [0, 1]], "ID"]', '["SEAL", [[0, [1]]], "ID"]', '["SEAL", [[3, 1]], "ID"]',
        '["SEAL", [[1, 1]], "ID"]', '["SEAL", [[0, NaN]], "ID"]', '["SEAL", [[0, null]], "ID"]',
        '["SEAL", [[0, 99999999999999999999]], "ID"]', r'["SEAL", [[0, "\ud800"]], "ID"]', '["SEAL", {"a": 1}, "ID"]',
        '["SEAL", [["0", 1]], "ID"]', '["SEAL", 1, "ID"]', '["SEAL", [[0, 1]], ["ID"]]',
    ],
)  # fmt: skip
def test_a_forged_cursor_is_refused(index: Index, content: str) -> None:
    index.put(run(number, x=number) for number in range(3))
    asked = Query(order=parse_order("parameters.x"), limit=1)
    genuine = index.query("run", asked).cursor
    assert genuine is not None
    seal = canonical.from_json(base64.urlsafe_b64decode(genuine + "=="))[0]
    forged = encoded(content.replace("SEAL", seal).replace("ID", run(1).id).encode())
    with pytest.raises(InvalidObjectError, match="cursor"):
        index.query("run", replace(asked, cursor=forged))


def test_a_cursor_belongs_to_its_query(index: Index) -> None:
    index.put(run(number, x=number) for number in range(3))
    asked = Query(where=parse("parameters.x >= 0"), order=parse_order("parameters.x"), limit=1)
    cursor = index.query("run", asked).cursor
    for other in (
        replace(asked, where=None),
        replace(asked, order=parse_order("name")),
        replace(asked, within=PROJECT),
    ):
        with pytest.raises(InvalidObjectError, match="another query"):
            index.query("run", replace(other, cursor=cursor))


@pytest.mark.parametrize(
    "pattern",
    ["*b", "*a*b", "a*\0*", "*\0b", "*[a-z]*b", "*?b", "*]*b", "*a*\\*b", "*A*b", "**b", "*" + "a*" * 999 + "b"],
)
def test_a_pattern_is_taken_as_it_stands_but_for_its_stars(index: Index, pattern: str) -> None:
    texts = ["", "b", "ab", "xb", "a\0b", "ab\0", "\0b", "[a-z]b", "a?b", "]b", "a\\b", "Ab", "*b", "a" * 1001 + "b"]
    runs = {run(number, x=text).id: text for number, text in enumerate(texts)}
    index.put(run(number, x=text) for number, text in enumerate(texts))
    found = listed(index, where=Matches(Field(("parameters", "x")), pattern))
    assert found == {id for id, text in runs.items() if wildcard(pattern, text)}


def test_parts_of_ids_are_found_whatever_their_dashes(index: Index) -> None:
    ids = [run(number).id for number in range(50)]
    index.put(run(number) for number in range(50))
    one = ids[0]
    for pattern in (
        one,
        f"{one[:6]}*",
        f"*{one[7:20]}*",
        f"*{one[-3:]}",
        f"*-{one[9:11]}*{one[-1]}",
        one.upper(),
        "*--*",
        "*zz*",
        "*",
    ):
        assert listed(index, where=Matches(Field(("id",)), pattern)) == {id for id in ids if wildcard(pattern, id)}, (
            pattern
        )


def test_an_integer_beyond_64_bits_in_a_hand_made_filter_is_refused(index: Index) -> None:
    index.put([run(1, x=1)])
    where = replace(parse("parameters.x == 1"), value=2**64)
    with pytest.raises(InvalidObjectError, match="64-bit"):
        index.query("run", Query(where=where))


def test_records_with_ids_of_another_form_are_refused(index: Index) -> None:
    with pytest.raises(InvalidObjectError, match="not an object id"):
        index.put([replace(run(1), id="../x")])


@pytest.mark.parametrize(
    "where",
    [" or ".join(f"parameters.x == {number}" for number in range(200)), " and ".join(["parameters.x >= 0"] * 200),
     f"parameters.x in ({', '.join(map(str, range(1000)))})", "not " * 32 + "parameters.x == 1",
     "(parameters.x == 1 or " * 32 + "name == 'a'" + ")" * 32],
    ids=["or", "and", "in", "not", "deep"],
)  # fmt: skip
def test_the_largest_filters_are_answered(index: Index, where: str) -> None:
    index.put([run(1, x=1)])
    assert listed(index, where=parse(where)) == {run(1).id}
    assert index.count("run", Query(where=parse(where))) == 1


# The file


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_file_that_is_no_index_is_replaced(path: Path, damage: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(damage)
    index = Index(path)
    assert index.put([run(1)]) == 1
    index.close()


def test_an_index_of_another_version_is_replaced(path: Path) -> None:
    first_index = Index(path)
    first_index.put([run(1)])
    before = first_index.id
    first_index.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    index = Index(path)
    assert index.size() == 0
    assert index.id != before
    index.close()


def test_damage_that_shows_later_leaves_an_empty_index(path: Path) -> None:
    index = Index(path)
    with index.transaction():
        index.set_source("log", 1)
        index.put(run(number, x=number, text="x" * 500) for number in range(300))
    index.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 * 8)
        file.write(b"\xff" * (size - 4096 * 10))
    index = Index(path)
    before = index.id
    with pytest.raises(UnavailableError, match="damaged"):
        [index.query("run", Query(order=parse_order(order))) for order in ("parameters.x", "parameters.text", "name")]
    assert (index.size(), index.sources()) == (0, {})
    assert index.id != before
    assert index.put([run(1)]) == 1
    index.close()


def test_a_flipped_bit_in_a_record_is_noticed(path: Path) -> None:
    index = Index(path)
    index.put([run(1)])
    index.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE head SET line = replace(line, '10:00', '11:00')")
    connection.commit()
    connection.close()
    index = Index(path)
    with pytest.raises(UnavailableError, match="damaged"):
        index.get("run", run(1).id)
    assert index.size() == 0
    index.close()


def test_damage_found_by_two_makes_one_new_index(path: Path) -> None:
    one, two = Index(path), Index(path)
    one.put([run(1)])
    for index in (one, two):
        with pytest.raises(UnavailableError), index.transaction():
            raise sqlite_damage()
    two.put([run(2)])
    assert listed(one) == {run(2).id}
    one.close()
    two.close()


def sqlite_damage() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_is_a_backend_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BackendError):
        Index(tmp_path / "index.sqlite")


def test_a_place_that_is_no_folder_is_a_backend_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackendError):
        Index(tmp_path / "file" / "index.sqlite")


def test_a_closed_index_is_a_backend_error(path: Path) -> None:
    index = Index(path)
    index.close()
    with pytest.raises(BackendError):
        index.size()


def write_many(path: Path, start: int) -> None:
    index = Index(path)
    for number in range(start, start + 40):
        index.put([run(number, **{f"key{number % 7}": number})])
        assert index.get("run", run(number).id) is not None
        index.query("run", Query(where=parse("parameters.key3 >= 0"), limit=3))
    index.close()


def test_several_processes_fill_one_index(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_many, args=(path, 20 * number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    index = Index(path)
    assert index.size() == 80
    for key in range(7):
        wanted = {run(number).id for number in range(80) if number % 7 == key}
        assert listed(index, where=parse(f"parameters.key{key} >= 0")) == wanted
    assert len(index.changes(None, 1000).entries) == 80
    index.close()


def test_several_threads_share_one_index(index: Index) -> None:
    faults: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 20):
                index.put([run(number, x=number)])
                assert listed(index, where=parse(f"parameters.x == {number}")) == {run(number).id}
        except BaseException as error:  # shown by the main thread
            faults.append(error)

    threads = [threading.Thread(target=work, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert index.size() == 80


# Growth


@pytest.fixture(scope="module")
def large() -> Iterator[Index]:
    index = Index(None)
    index.put(run(number, x=number, group=number % 10) for number in range(20_000))
    yield index
    index.close()


@pytest.mark.parametrize(
    ("where", "order"),
    [
        (None, "created_at"),
        (None, "-parameters.x"),
        ("parameters.x == 77", "-parameters.x"),
        ("parameters.x < 100 and parameters.group >= 0", "parameters.group"),
        ("(parameters.x < 100 and parameters.group >= 0) and parameters.group >= 0", "parameters.group"),
        ("parameters.group < 9 and parameters.x > 10", "parameters.x"),
        ("parameters.x in (1, 2, 3) or parameters.x > 19990", "created_at"),
        ("parameters.absent == 1", "parameters.x"),
    ],
)
def test_what_an_index_can_drive_looks_at_few_objects(
    large: Index, where: str | None, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_search.Search, "_patience", lambda search, limit: nullcontext())
    query = Query(where=parse(where) if where else None, order=parse_order(order), limit=20)
    assert steps_of(large, query) < 60_000, "a look at each of the 20,000 runs would take ten times as many"


@pytest.mark.parametrize("where", [None, "parameters.x >= 5 and parameters.x < 19990"])
@pytest.mark.parametrize(
    "order", ["created_at", "parameters.x", "-parameters.x", "parameters.x, name", "-parameters.x, name"]
)
def test_a_page_far_behind_costs_no_more_than_the_first(
    large: Index, where: str | None, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_search.Search, "_patience", lambda search, limit: nullcontext())
    query = Query(where=parse(where) if where else None, order=parse_order(order), limit=15_000)
    query = replace(query, limit=20, cursor=large.query("run", query).cursor)
    assert query.cursor is not None
    steps: list[int] = []
    large._connection.set_progress_handler(lambda: steps.append(1), 100)
    assert len(large.query("run", query).records) == 20
    large._connection.set_progress_handler(None, 0)
    assert len(steps) * 100 < 60_000


@pytest.fixture(scope="module")
def measured() -> Iterator[Index]:
    index = Index(None)
    index.put(
        replace(run(number, group=number % 2), summaries=(summarise("loss", "w", [0], [0], [float(number)]),))
        for number in range(20_000)
    )
    yield index
    index.close()


def test_the_first_along_a_field_without_an_index_are_tested_before_all_others(measured: Index) -> None:
    query = Query(where=parse("parameters.group == 1"), order=parse_order("-metrics.loss.mean"), limit=20)
    alone = steps_of(measured, replace(query, where=None))
    assert steps_of(measured, query) < 1.5 * alone, "a condition must not be looked up for each of the 20,000 runs"


def steps_of(index: Index, query: Query) -> int:
    """About how many steps SQLite needs for a query."""
    steps: list[int] = []
    index._connection.set_progress_handler(lambda: steps.append(1), 100)
    index.query("run", query)
    index._connection.set_progress_handler(None, 0)
    return len(steps) * 100

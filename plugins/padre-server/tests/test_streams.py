"""Points and lines over HTTP."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import pytest

from padre_core.objects.identity import new_run_id
from padre_core.streams.columns import Columns, Line, Lines, Points, make_points
from padre_http.wire.streams import MEDIA_TYPES, decode_segments, encode_columns

from .samples import child, experiment, project
from .serving import Client

WRITER = "0123456789abcdef"


@pytest.fixture
def run() -> str:
    return new_run_id()


def append(client: Client, run: str, first: int, columns: Columns, **more: Any) -> Any:
    stream = "points" if isinstance(columns, Points) else "lines"
    return client(
        "POST",
        f"/v1/runs/{run}/streams/{WRITER}",
        encode_columns(first, columns),
        headers={"Content-Type": MEDIA_TYPES[stream]},
        first=first,
        **more,
    )


def test_points_come_back_as_they_were_sent(client: Client, run: str) -> None:
    points = make_points("loss", [1.5, math.nan, -math.inf], [0, 1, 2**62], [1, 2, 3], 0)
    assert append(client, run, 0, points).json == {"next": 3}
    answer = client("GET", f"/v1/runs/{run}/points")
    (segment,) = decode_segments("points", io.BytesIO(answer.body).read)
    assert (segment.writer, segment.first) == (WRITER, 0)
    assert list(segment.columns.steps) == [0, 1, 2**62]  # type: ignore[union-attr]


def test_what_is_stored_already_is_skipped(client: Client, run: str) -> None:
    points = make_points("loss", [1, 2, 3], None, None, 0)
    append(client, run, 0, points)
    assert append(client, run, 0, points).json == {"next": 3}
    assert append(client, run, 2, make_points("loss", [3, 4], None, None, 2)).json == {"next": 4}


def test_a_gap_is_refused_and_says_where_to_go_on(client: Client, run: str) -> None:
    append(client, run, 0, make_points("loss", [1, 2], None, None, 0))
    answer = append(client, run, 5, make_points("loss", [1], None, None, 5))
    assert (answer.status, answer.error, answer.json["details"]) == (409, "ConflictError", {"next": 2})


def test_lines_come_as_json_to_those_who_ask_for_it(client: Client, run: str) -> None:
    append(client, run, 0, Lines((Line(1, "INFO", "héllo\n"), Line(2, "ERROR", ""))))
    answer = client("GET", f"/v1/runs/{run}/lines", headers={"Accept": "application/json"})
    lines = [line for segment in answer.json["segments"] for line in segment["lines"]]
    assert lines == [[1, "INFO", "héllo\n"], [2, "ERROR", ""]]


def test_points_come_as_json_too(client: Client, run: str) -> None:
    append(client, run, 0, make_points("loss", [0.5], [7], [9], 0))
    (segment,) = client("GET", f"/v1/runs/{run}/points", headers={"Accept": "application/json"}).json["segments"]
    assert segment == {
        "writer": WRITER, "first": 0, "metrics": ["loss"], "keys": [0], "steps": [7], "times": [9], "values": [0.5],
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"garbage", b"PDP1" + b"\xff" * 60])
def test_damaged_parts_are_refused(client: Client, run: str, body: bytes) -> None:
    headers = {"Content-Type": MEDIA_TYPES["points"]}
    answer = client("POST", f"/v1/runs/{run}/streams/{WRITER}", body, headers=headers, first=0)
    assert answer.status == (200 if not body else 400)
    assert client("GET", f"/v1/runs/{run}/points", headers={"Accept": "application/json"}).json == {"segments": []}


def test_summaries_of_points_change_the_etag_of_a_run_for_caches(client: Client) -> None:
    parent = experiment(project())
    record = child("run", new_run_id(), parent, execution=parent.id, status="running")
    from padre_http.wire.records import encode_record

    client("PUT", f"/v1/runs/{record.id}", encode_record(record))
    before = client("GET", f"/v1/runs/{record.id}")
    append(client, record.id, 0, make_points("loss", [0.5], None, None, 0))
    after = client("GET", f"/v1/runs/{record.id}", headers={"If-None-Match": before.headers["ETag"]})
    assert after.status == 200
    assert json.loads(after.body)["etag"] == record.etag
    assert json.loads(after.body)["summaries"]


def test_where_each_writer_ended_is_told_without_the_points(client: Client, run: str) -> None:
    append(client, run, 0, make_points("loss", [1, 2], None, None, 0))
    assert client("GET", f"/v1/runs/{run}/points/ends").json == {"ends": {WRITER: 2}}
    assert client("GET", f"/v1/runs/{run}/lines/ends").json == {"ends": {}}

import array
import builtins
import math
import os
import signal
import subprocess
import sys

import pytest

import padre_core as padre
from padre_core.streams.columns import Line, Points

CHILD = """
import sys, time
import padre_core as padre
with padre.open(sys.argv[1], durability="process") as workspace:
    writer = workspace.runs.open_writer(sys.argv[2])
    writer.point("loss", 0, 1.0, 0)
    writer.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


def log(workspace, run, *points):
    writer = workspace.runs.open_writer(run)
    for metric, step, value in points:
        writer.point(metric, step, value, step)
    writer.close()


def test_points_come_back_as_columns(workspace, run):
    log(workspace, run, ("loss", 0, 0.5), ("f1", 0, 0.1), ("loss", 1, 0.25))
    loss = workspace.runs.points(run, "loss")
    assert (list(loss.steps), list(loss.values), list(loss.times)) == ([0, 1], [0.5, 0.25], [0, 1])
    assert len(loss) == 2
    assert len(workspace.runs.points(run, "none")) == 0


def test_points_of_several_writers_are_by_step_and_time(workspace, run):
    log(workspace, run, ("loss", 2, 2.0), ("loss", 0, 0.0))
    log(workspace, run, ("loss", 1, 1.0), ("loss", 3, 3.0))
    assert list(workspace.runs.points(run, "loss").values) == [0.0, 1.0, 2.0, 3.0]


def test_points_are_the_same_without_numpy(workspace, run, monkeypatch):
    log(workspace, run, ("loss", 2, math.inf), ("f1", 0, 9.0), ("loss", 0, 0.0))
    log(workspace, run, ("loss", 1, 1.0))
    expected = workspace.runs.points(run, "loss")
    real = builtins.__import__

    def without_numpy(name, *rest):
        if name == "numpy":
            raise ImportError
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_numpy)
    found = workspace.runs.points(run, "loss")
    assert isinstance(found.values, array.array)
    assert (list(found.steps), list(found.values)) == (list(expected.steps), list(expected.values))


def test_batches_of_points_come_back(workspace, run):
    writer = workspace.runs.open_writer(run)
    steps = array.array("q", range(1000))
    writer.points(Points(("loss",), None, steps, steps, array.array("d", range(1000))))
    writer.close()
    assert list(workspace.runs.points(run, "loss").values) == list(range(1000))


def test_columns_belong_to_who_asked_for_them(workspace, run):
    log(workspace, run, ("loss", 0, 0.5))
    found = workspace.runs.points(run, "loss")
    found.values[0] = 1.5
    assert list(workspace.runs.points(run, "loss").values) == [0.5]


def test_summaries_follow_from_points(workspace, run):
    log(workspace, run, ("loss", 0, 0.5), ("loss", 1, math.nan), ("loss", 2, 0.25))
    loss = workspace.runs.metrics(run)["loss"]
    assert (loss.count, loss.first, loss.last, loss.min, loss.max, loss.min_step) == (3, 0.5, 0.25, 0.25, 0.5, 2)


def test_metrics_are_listed_with_what_follows_from_points(workspace, run):
    log(workspace, run, ("loss", 0, 0.5), ("f1", 0, 0.9))
    workspace.metrics.put(padre.Metric(name="confusion", run=run, split=0, value=[[1, 0], [0, 1]]))
    workspace.metrics.put(padre.Metric(name="f1", run=run, title="F1"))
    found = {metric.name: metric for metric in workspace.metrics.list(within=run)}
    assert set(found) == {"confusion", "f1", "loss"}
    assert found["loss"].summary.last == 0.5
    assert (found["f1"].summary.last, found["f1"].title) == (0.9, "F1")
    assert (found["confusion"].summary, found["confusion"].value) == (None, [[1, 0], [0, 1]])
    assert workspace.metrics.count(within="iris") == 3


def test_a_metric_that_follows_from_points_is_found_by_its_id(workspace, run):
    log(workspace, run, ("loss", 0, 0.5))
    (listed,) = workspace.metrics.list(within=run)
    found = workspace.metrics.get(listed.id)
    assert (found.name, found.summary.count) == ("loss", 1)


def test_a_metric_that_follows_from_points_can_be_described(workspace, run):
    log(workspace, run, ("loss", 0, 0.5))
    (metric,) = workspace.metrics.list(within=run)
    metric.title = "Loss"
    workspace.metrics.put(metric)
    (stored,) = workspace.metrics.list('title == "Loss"', within=run)
    assert (stored.id, stored.summary.last) == (metric.id, 0.5)
    assert workspace.metrics.count('not title == "Loss"', within=run) == 0
    stored.title = "Cost"
    assert workspace.metrics.put(stored).etag.startswith("2-")


def test_metrics_that_follow_from_points_are_not_deleted(workspace, run):
    log(workspace, run, ("loss", 0, 0.5))
    assert workspace.metrics.delete(workspace.metrics.list(within=run)) == 0
    assert workspace.metrics.count(within=run) == 1


def test_metrics_that_follow_from_points_are_filtered_and_ordered_too(workspace, run):
    log(workspace, run, ("a", 0, 1.0), ("b", 0, 1.0), ("c", 0, 1.0))
    found = workspace.metrics.list('name != "b"', order_by="-name", within=run, limit=5)
    assert [metric.name for metric in found] == ["c", "a"]


def test_lines_come_back_by_time(workspace, run):
    one, other = workspace.runs.open_writer(run), workspace.runs.open_writer(run)
    other.line(Line(2, "INFO", "second"))
    one.line(Line(1, "ERROR", "first\nwith two lines"))
    one.close()
    other.close()
    assert [line.text for line in workspace.runs.lines(run)] == ["first\nwith two lines", "second"]


def test_progress_is_what_was_told_last(workspace, run):
    assert workspace.runs.progress(run) is None
    writer = workspace.runs.open_writer(run)
    writer.line(Line(1, "PROGRESS", '[1,10,"train"]'))
    writer.line(Line(2, "PROGRESS", '[2,10,"train"]'))
    writer.close()
    assert workspace.runs.progress(run) == padre.Progress(current=2, total=10, phase="train")
    assert workspace.runs.lines(run) == []


def test_a_move_keeps_the_ids_and_leaves_a_pointer(workspace, execution, run):
    split = workspace.splits.put(padre.Split(run=run, number=0))
    artifact = workspace.artifacts.upload(run, b"x", path="x")
    log(workspace, run, ("loss", 0, 0.5))
    other = workspace.experiments.put(padre.Experiment(name="other", project="rose"))
    target = workspace.executions.put(padre.Execution(experiment=other, code=execution.code))
    moved = workspace.runs.move(run, target)
    assert (moved.id, moved.execution, moved.moved_from) == (run.id, target.id, (execution.id,))
    assert workspace.runs.count(within="iris") == workspace.splits.count(within="iris") == 0
    assert [item.id for item in workspace.splits.list(within="rose")] == [split.id]
    assert [item.id for item in workspace.artifacts.list(within="rose/other")] == [artifact.id]
    assert workspace.runs.metrics(run.id)["loss"].count == 1
    workspace.projects.delete("iris")
    assert workspace.splits.get(split.id).ancestors == (*target.ancestors, target.id, run.id)


def test_a_move_to_where_it_is_changes_nothing(workspace, execution, run):
    assert workspace.runs.move(run, execution).etag == run.etag


def test_a_move_needs_an_execution_that_is_there(workspace, run):
    with pytest.raises(padre.NotFoundError):
        workspace.runs.move(run, "00000000-0000-5000-8000-000000000000")
    assert workspace.runs.get(run.id).etag == run.etag


def test_a_put_does_not_move_a_run(workspace, execution, run):
    other = workspace.experiments.put(padre.Experiment(name="other", project="rose"))
    target = workspace.executions.put(padre.Execution(experiment=other, code=execution.code))
    run.execution = target
    with pytest.raises(padre.InvalidObjectError, match="use workspace"):
        workspace.runs.put(run)


def test_a_run_can_be_put_again_by_its_id(workspace, execution, run):
    workspace.runs.put(padre.Run(id=run.id, execution=execution, name="best"))
    stored = workspace.runs.get(run.id)
    assert (stored.name, stored.parameters) == ("best", {"C": 1.0})


def test_a_deleted_run_still_takes_points(workspace, run):
    writer = workspace.runs.open_writer(run)
    workspace.runs.delete(run)
    writer.point("loss", 0, 0.5, 0)
    writer.close()
    with pytest.raises(padre.NotFoundError):
        workspace.runs.points(run.id, "loss")
    workspace.runs.restore(run.id)
    assert list(workspace.runs.points(run.id, "loss").values) == [0.5]


def test_a_run_is_lost_when_its_writer_is_gone(tmp_path, monkeypatch):
    url = (tmp_path / "store").as_uri()
    with padre.open(url, durability="process") as workspace:
        experiment = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        code = workspace.codes.put(padre.Code(type="command", command=("train",)))
        execution = workspace.executions.put(padre.Execution(experiment=experiment, code=code))
        run = workspace.runs.put(padre.Run(execution=execution, status="running"))
        child = subprocess.Popen([sys.executable, "-c", CHILD, url, run.id], stdout=subprocess.PIPE, text=True)
        with child:
            assert child.stdout.readline() == "ready\n"
            assert workspace.runs.get(run.id).status is padre.RunStatus.RUNNING
            assert workspace.runs.count('status == "running"') == 1
            os.kill(child.pid, signal.SIGKILL)
        lost = workspace.runs.get(run.id)
        assert lost.status is padre.RunStatus.LOST
        assert [item.status for item in workspace.runs.list('status in ("lost", "failed")')] == ["lost"]
        assert workspace.runs.count('status == "running"') == 0
        assert workspace.runs.count('status != "lost"') == 0
        lost.title = "who knows"
        workspace.runs.put(lost)
        assert b'"status":"running"' in workspace.backend.get("run", run.id).content

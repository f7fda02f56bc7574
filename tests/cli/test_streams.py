import csv
import io
import subprocess
import sys
import threading

import pytest


def test_log_shows_time_level_and_text(command, runs):
    first, second = command("log", runs[0].id).out.splitlines()
    assert first.split()[1:] == ["INFO", "begin"]
    assert second.split()[1:] == ["WARNING", "done"]


def test_log_leaves_out_lower_levels(command, runs):
    assert [line["text"] for line in command("log", runs[0].id, "--level", "WARNING", "--json").json] == ["done"]


def test_lines_after_the_first_are_indented(command, workspace):
    with workspace.start_run() as run:
        run.log("one\ntwo")
    assert command("log", run.id).out.splitlines()[1] == "    two"


def test_follow_goes_on_until_the_run_ends(command, workspace):
    run = workspace.start_run()
    run.log("first")
    code = f"import sys; sys.argv = ['padre', 'log', '--follow', '{run.id}']; from padre_core.cli import main; main()"
    following = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert "first" in following.stdout.readline()
    assert following.poll() is None
    run.log("second")
    run.finish()
    rest, _ = following.communicate(timeout=300)
    assert "second" in rest
    assert following.returncode == 0


def test_follow_of_an_ended_run_ends(command, runs):
    done = threading.Timer(300, lambda: pytest.fail("still following"))
    done.start()
    assert len(command("log", runs[0].id, "-f").out.splitlines()) == 2
    done.cancel()


def test_points_as_a_table(command, runs):
    heading, first, second = command("points", runs[1].id, "accuracy").out.splitlines()
    assert heading.split() == ["step", "time", "accuracy"]
    assert (first.split()[0], first.split()[2]) == ("0", "0.5")
    assert second.split()[2] == "0.8"


def test_points_as_json(command, runs):
    (found,) = command("points", runs[1].id, "accuracy", "--json").json
    assert (found["metric"], found["steps"], found["values"]) == ("accuracy", [0, 1], [0.5, 0.8])


def test_points_as_csv(command, runs):
    rows = list(csv.reader(io.StringIO(command("points", runs[1].id, "accuracy", "--csv").out)))
    assert rows[0] == ["step", "time", "accuracy"]
    assert float(rows[2][2]) == 0.8


def test_without_a_metric_points_tells_the_summaries(command, runs):
    (summary,) = command("points", runs[0].id, "--json").json[0]
    assert (summary["metric"], summary["count"], summary["last"]) == ("accuracy", 2, 0.7)
    assert command("points", runs[0].id).out.splitlines()[1].split()[:4] == ["accuracy", "2", "0.5", "0.7"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_spreadsheet_takes_a_name_for_a_formula(command, workspace, name):
    with workspace.start_run() as run:
        run.log_metric(name, -1.0)
    assert command("points", "--csv", "--", run.id, name).out.splitlines()[0] == f"step,time,'{name}"
    rows = list(csv.reader(io.StringIO(command("points", run.id, "--csv").out)))
    assert rows[1][0] == f"'{name}"


def test_nan_and_infinities_are_shown(command, workspace):
    with workspace.start_run() as run:
        run.log_points("loss", [float("nan"), float("inf")])
    assert [line.split()[2] for line in command("points", run.id, "loss").out.splitlines()[1:]] == ["nan", "inf"]
    assert "NaN,Infinity" in command("points", run.id, "loss", "--json").out


def test_points_of_an_unknown_metric_name_those_that_there_are(command, runs):
    result = command("points", runs[0].id, "acuracy")
    assert (result.code, result.out) == (3, "")
    assert "no points of 'acuracy'; its metrics are accuracy" in result.err


def test_points_of_a_time_that_no_calendar_has_are_shown(command, workspace, runs):
    writer = workspace.runs.open_writer(runs[0].id)
    writer.point("far", 0, 1.5, 2**63 - 1)
    writer.close()
    assert command("points", runs[0].id, "far", "--json").json[0]["times"] == [str(2**63 - 1)]

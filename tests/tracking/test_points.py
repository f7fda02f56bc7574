import math
import threading

import numpy as np
import pytest

import padre_core as padre


@pytest.fixture
def run(workspace):
    with workspace.start_run("iris/svc") as run:
        yield run


def points(workspace, run, metric):
    run.flush()
    found = workspace.runs.points(run.id, metric)
    return list(found.steps), list(found.values)


def test_points_come_back_as_they_were_logged(workspace, run):
    run.log_metric("loss", 0.5, step=3)
    run.log_metric("loss", 0.25, step=7)
    assert points(workspace, run, "loss") == ([3, 7], [0.5, 0.25])


def test_a_missing_step_is_one_more_than_the_last_of_the_metric(workspace, run):
    run.log_metric("loss", 1.0)
    run.log_metric("loss", 2.0)
    run.log_metric("other", 1.0)
    run.log_metric("loss", 3.0, step=10)
    run.log_metric("loss", 4.0)
    assert points(workspace, run, "loss")[0] == [0, 1, 10, 11]
    assert points(workspace, run, "other")[0] == [0]


def test_several_metrics_share_a_step(workspace, run):
    run.log_metrics({"accuracy": 0.97, "f1": 0.96}, step=2)
    assert points(workspace, run, "accuracy") == ([2], [0.97])
    assert points(workspace, run, "f1") == ([2], [0.96])


def test_columns_count_on_from_what_was_logged_before(workspace, run):
    run.log_metric("loss", 1.0)
    run.log_points("loss", [2.0, 3.0])
    run.log_metric("loss", 4.0)
    assert points(workspace, run, "loss") == ([0, 1, 2, 3], [1.0, 2.0, 3.0, 4.0])


def test_columns_may_be_numpy_arrays_with_steps_and_times(workspace, run):
    run.log_points("loss", np.array([1, 2], dtype=np.float32), steps=np.array([5, 6]), times=[1_000_000, 2_000_000])
    run.flush()
    found = workspace.runs.points(run.id, "loss")
    assert (list(found.steps), list(found.values), list(found.times)) == ([5, 6], [1.0, 2.0], [1_000_000, 2_000_000])


def test_no_points_are_no_error(workspace, run):
    run.log_points("loss", [])
    assert points(workspace, run, "loss") == ([], [])


def test_nan_and_infinities_are_kept(workspace, run):
    for value in (math.nan, math.inf, -math.inf):
        run.log_metric("loss", value)
    values = points(workspace, run, "loss")[1]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize("value", [1, True, np.float32(1), np.int64(1)])
def test_whatever_is_a_number_becomes_a_float(workspace, run, value):
    run.log_metric("loss", value)
    assert points(workspace, run, "loss")[1] == [1.0]


def test_a_numpy_integer_is_a_step(workspace, run):
    run.log_metric("loss", 1.0, step=np.int64(4))
    run.log_metric("loss", 1.0)
    assert points(workspace, run, "loss")[0] == [4, 5]


def test_two_spellings_of_a_name_are_one_metric(workspace, run):
    run.log_metric("caf\u00e9", 1.0)
    run.log_metric("cafe\u0301", 2.0)
    assert points(workspace, run, "caf\u00e9") == ([0, 1], [1.0, 2.0])


@pytest.mark.parametrize("name", ["", "a\nb", "\ud800", 3, "x" * 256])
def test_a_bad_name_is_refused(workspace, run, name):
    with pytest.raises(padre.InvalidObjectError, match="metric name"):
        run.log_metric(name, 1.0)


@pytest.mark.parametrize("value", ["0.5", None, [1], 1j])
def test_a_value_that_is_no_number_is_refused_by_the_metric_s_name(workspace, run, value):
    with pytest.raises(padre.InvalidObjectError, match="loss"):
        run.log_metric("loss", value)
    assert points(workspace, run, "loss") == ([], [])


@pytest.mark.parametrize("step", [1.5, "1", True, 2**63, -(2**63) - 1])
def test_a_step_that_is_no_64_bit_integer_is_refused(workspace, run, step):
    with pytest.raises(padre.InvalidObjectError, match="step"):
        run.log_metric("loss", 1.0, step=step)


@pytest.mark.parametrize("step", [2**63 - 1, -(2**63)])
def test_the_first_and_the_last_step_there_is_are_kept(workspace, run, step):
    run.log_metric("loss", 1.0, step=step)
    assert points(workspace, run, "loss")[0] == [step]


def test_after_the_last_step_there_is_none(run):
    run.log_metric("loss", 1.0, step=2**63 - 1)
    with pytest.raises(padre.InvalidObjectError, match="step"):
        run.log_metric("loss", 1.0)


def test_columns_of_unequal_length_are_refused(run):
    with pytest.raises(padre.InvalidObjectError, match="2 values, 1 steps"):
        run.log_points("loss", [1.0, 2.0], steps=[1])


def test_threads_log_to_one_run_and_lose_no_point(workspace, run):
    def work():
        for _ in range(500):
            run.log_metric("loss", 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert points(workspace, run, "loss")[0] == list(range(2000))


def test_summaries_follow_the_points(workspace, run):
    run.log_points("loss", [3.0, 1.0, 2.0])
    run.finish()
    summary = workspace.runs.metrics(run.id)["loss"]
    assert (summary.count, summary.first, summary.last, summary.min, summary.max) == (3, 3.0, 2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("values", "step"), [({"loss": 1.0, "f1": "high"}, 1), ({"loss": 1.0, "": 2.0}, 1), ({"loss": 1.0}, "last")]
)
def test_of_metrics_logged_together_all_are_stored_or_none(workspace, run, values, step):
    with pytest.raises(padre.InvalidObjectError):
        run.log_metrics(values, step=step)
    assert points(workspace, run, "loss") == ([], [])


@pytest.mark.parametrize("time", [1_764_374_400_000_000_000, -(10**17), 2**63 - 1])
def test_times_that_are_no_microseconds_are_refused(run, time):
    with pytest.raises(padre.InvalidObjectError, match="microseconds since 1970"):
        run.log_points("loss", [1.0, 2.0], times=[0, time])

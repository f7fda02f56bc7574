import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref

import pytest

import padre_core as padre
from padre_core.hookspecs import Started, Stopped


def test_a_run_lies_below_the_execution_of_this_code(workspace):
    with workspace.start_run("iris/svc") as run:
        pass
    execution = workspace.executions.get(run.object.execution)
    experiment = workspace.experiments.get(execution.experiment)
    assert experiment.name == "svc"
    assert workspace.projects.get(experiment.project).name == "iris"
    assert workspace.codes.get(execution.code).type
    assert run.object.ancestors[-1] == execution.id


def test_runs_of_one_process_share_the_execution(workspace):
    runs = [workspace.start_run("iris/svc").finish() for _ in range(2)]
    assert runs[0].execution == runs[1].execution
    assert runs[0].id != runs[1].id


def test_a_run_that_ended_is_let_go_without_a_search_for_garbage(workspace):
    gc.disable()
    try:
        with workspace.start_run() as run:
            run.log_metric("loss", 0.5)
        gone = weakref.ref(run)
        del run
        assert gone() is None
    finally:
        gc.enable()


def test_without_an_experiment_it_is_the_default_one(workspace):
    run = workspace.start_run().finish()
    assert workspace.executions.get(run.execution).experiment == workspace.experiments.get("default/default").id


def test_an_experiment_may_be_an_object_an_id_a_path_or_a_url(workspace):
    experiment = padre.Experiment(name="svc", project="iris", seed=3)
    first = workspace.start_run(experiment).finish()
    stored = workspace.experiments.get("iris/svc")
    assert stored.seed == 3
    for way in (stored, stored.id, "iris/svc", workspace.experiments.url(stored)):
        assert workspace.start_run(way).finish().execution == first.execution


@pytest.mark.parametrize("experiment", [3, padre.Project(name="iris"), "a//b", "svc"])
def test_what_is_no_experiment_is_refused(workspace, experiment):
    with pytest.raises(padre.InvalidObjectError):
        workspace.start_run(experiment)


def test_an_experiment_that_was_deleted_meanwhile_is_made_again(workspace):
    first = workspace.start_run("iris/svc").finish()
    workspace.experiments.delete("iris/svc")
    second = workspace.start_run("iris/svc").finish()
    assert second.execution != first.execution


def test_a_run_keeps_how_it_was_started(workspace):
    with workspace.start_run(parameters={"C": 1.0}, tags={"stage": "final"}, name="first") as run:
        stored = workspace.runs.get(run.id)
        assert stored.status == "running"
    assert (stored.parameters, stored.tags, stored.name) == ({"C": 1.0}, {"stage": "final"}, "first")
    assert stored.command
    assert stored.environment.python == sys.version.split()[0]
    assert stored.started_at


def test_a_run_may_be_part_of_another(workspace):
    with workspace.start_run() as outer, workspace.start_run(parent=outer.object) as inner:
        pass
    assert inner.object.parent == outer.id


@pytest.mark.parametrize(
    "wrong", [{"parameters": {"": 1}}, {"tags": {"a": 1}}, {"name": "a\nb"}, {"parameters": {"a": object()}}]
)
def test_a_malformed_start_stores_nothing(workspace, wrong):
    with pytest.raises(padre.InvalidObjectError):
        workspace.start_run("iris/svc", **wrong)
    assert workspace.runs.count() == 0


def test_a_simple_run_is_written_twice(workspace):
    with workspace.start_run(parameters={"C": 1.0}) as run:
        run.log_metric("loss", 1.0)
        run.log("text")
    assert workspace.runs.get(run.id).etag.startswith("2-")


def test_leaving_the_block_finishes_the_run(workspace):
    with workspace.start_run() as run:
        pass
    stored = workspace.runs.get(run.id)
    assert stored.status == "finished"
    assert stored.ended_at >= stored.started_at
    assert stored.error is None


def test_an_exception_fails_the_run_and_comes_through(workspace):
    with pytest.raises(ZeroDivisionError), workspace.start_run() as run:
        raise ZeroDivisionError("division by zero")
    stored = workspace.runs.get(run.id)
    assert stored.status == "failed"
    assert stored.error.type == "ZeroDivisionError"
    assert stored.error.message == "division by zero"
    assert "test_runs.py" in stored.error.traceback


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "killed"),
        (SystemExit(3), "killed"),
        (SystemExit("bye"), "killed"),
        (SystemExit(), "finished"),
        (SystemExit(0), "finished"),
    ],
)
def test_interrupts_and_exits_are_told_apart(workspace, error, status):
    with pytest.raises(type(error)), workspace.start_run() as run:
        raise error
    assert workspace.runs.get(run.id).status == status


class HostileError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [HostileError(), ValueError("\ud800"), ValueError("x" * 10**6)])
def test_a_failure_is_stored_however_odd_its_text(workspace, error):
    with pytest.raises(type(error)), workspace.start_run() as run:
        raise error
    stored = workspace.runs.get(run.id)
    assert stored.status == "failed"
    assert stored.error.type.endswith(type(error).__name__)


def test_a_run_without_a_block_is_ended_by_hand(workspace):
    run = workspace.start_run()
    assert run.finish("failed").status == "failed"
    assert workspace.runs.get(run.id).status == "failed"


@pytest.mark.parametrize("status", ["running", "lost", "created", "done", 3])
def test_a_run_ends_in_no_other_way(workspace, status):
    run = workspace.start_run()
    with pytest.raises(padre.InvalidObjectError, match="finished, failed and killed"):
        run.finish(status)


def test_finishing_by_hand_within_the_block_stays(workspace):
    with workspace.start_run() as run:
        run.finish("killed")
    assert workspace.runs.get(run.id).status == "killed"


LATE = {
    "log_metric": ("loss", 1.0),
    "log_metrics": ({"loss": 1.0},),
    "log_points": ("loss", [1.0]),
    "log_parameters": ({"C": 1},),
    "set_tags": ({"a": "b"},),
    "log_artifact": (__file__,),
    "log_artifacts": (os.path.dirname(__file__),),
    "log_output": ("predictions", {"row": [1]}),
    "log_split": (0,),
    "log_computation": ("svc",),
    "log": ("text",),
    "log_progress": (1,),
    "finish": (),
}


@pytest.mark.parametrize("method", LATE)
def test_an_ended_run_refuses_everything(workspace, method):
    with workspace.start_run() as run:
        run.log_metric("loss", 1.0)
    etag = workspace.runs.get(run.id).etag
    with pytest.raises(padre.ConflictError, match="has ended"):
        getattr(run, method)(*LATE[method])
    assert workspace.runs.get(run.id).etag == etag
    assert len(workspace.runs.points(run.id, "loss")) == 1


def test_parameters_and_tags_are_added_and_the_last_one_counts(workspace):
    with workspace.start_run(parameters={"a": 1, "b": 1}, tags={"x": "1"}) as run:
        run.log_parameters({"b": 2, "c": 3})
        run.set_tags({"x": "2", "y": "3"})
    stored = workspace.runs.get(run.id)
    assert stored.parameters == {"a": 1, "b": 2, "c": 3}
    assert stored.tags == {"x": "2", "y": "3"}


def test_what_others_write_to_the_run_meanwhile_stays(workspace):
    with workspace.start_run() as run:
        other = workspace.runs.get(run.id)
        other.tags = {"reviewed": "yes"}
        workspace.runs.put(other)
        run.log_parameters({"a": 1})
    stored = workspace.runs.get(run.id)
    assert (stored.tags, stored.parameters, stored.status) == ({"reviewed": "yes"}, {"a": 1}, "finished")


def test_threads_add_parameters_and_lose_none(workspace):
    with workspace.start_run() as run:
        threads = [threading.Thread(target=run.log_parameters, args=({f"p{n}": n},)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(workspace.runs.get(run.id).parameters) == 20


def fail_after(call, *arguments):
    call(*arguments)
    raise ZeroDivisionError("division by zero")


def test_an_ended_run_can_be_resumed(workspace):
    with pytest.raises(ZeroDivisionError), workspace.start_run(parameters={"a": 1}) as first:
        fail_after(first.log_metric, "loss", 1.0, 5)
    with workspace.start_run(resume=first.id, parameters={"b": 2}, tags={"again": "yes"}) as run:
        running = workspace.runs.get(run.id)
        run.log_metric("loss", 2.0, step=6)
    assert (running.status, running.error, running.ended_at) == ("running", None, None)
    stored = workspace.runs.get(first.id)
    assert (stored.status, stored.parameters, stored.tags) == ("finished", {"a": 1, "b": 2}, {"again": "yes"})
    assert list(workspace.runs.points(first.id, "loss").steps) == [5, 6]


def test_a_running_run_is_joined_and_left_to_its_own_process(workspace):
    with workspace.start_run() as run:
        with workspace.start_run(resume=run.object) as joined:
            joined.log_metric("loss", 1.0)
        assert workspace.runs.get(run.id).status == "running"
        with pytest.raises(ZeroDivisionError), workspace.start_run(resume=run.id):
            raise ZeroDivisionError
        assert workspace.runs.get(run.id).status == "running"
    assert workspace.runs.get(run.id).status == "finished"
    assert "ZeroDivisionError" in workspace.runs.lines(run.id)[0].text


def test_a_resumed_run_keeps_its_place(workspace):
    run = workspace.start_run("iris/svc").finish()
    with pytest.raises(padre.InvalidObjectError, match="keeps its experiment"):
        workspace.start_run("iris/other", resume=run)


def test_resuming_what_is_not_there_is_refused(workspace):
    with pytest.raises(padre.NotFoundError):
        workspace.start_run(resume="01a20919-ee3f-72ee-b763-482c0ccd54a4")


def test_subscribers_hear_of_start_and_end(store):
    heard = []

    class Listener:
        @padre.hookimpl
        def padre_started(self, event):
            heard.append(event)

        @padre.hookimpl
        def padre_stopped(self, event):
            heard.append(event)

    with padre.open(store, extensions=[Listener()]) as workspace, workspace.start_run(name="first") as run:
        pass
    started, stopped = heard
    assert started == Started(run.id, "first")
    assert (stopped.run, stopped.status) == (run.id, "finished")
    assert isinstance(stopped, Stopped)
    assert stopped.seconds >= 0


def script(store, body):
    head = f"import os, signal, sys\nimport padre_core as padre\nworkspace = padre.open({store!r})\n"
    command = [sys.executable, "-c", head + body]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def only_run(store):
    with padre.open(store) as workspace:
        (run,) = workspace.runs.list()
        return run


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", "finished"),
        ("workspace.close()", "finished"),
        ("1 / 0", "failed"),
        ("raise KeyboardInterrupt", "killed"),
        # A process in the background may have been told to ignore it.
        ("signal.signal(signal.SIGINT, signal.default_int_handler)\nos.kill(os.getpid(), signal.SIGINT)", "killed"),
        ("with workspace: 1 / 0", "failed"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "lost"),
        ("os._exit(0)", "lost"),
    ],
)
def test_a_run_that_nobody_ended_ends_with_its_process(store, ending, status):
    script(store, f"run = workspace.start_run()\nrun.log_metric('loss', 1.0)\n{ending}\n")
    run = only_run(store)
    assert run.status == status
    assert (run.error is not None) == (status in ("failed", "killed"))


def test_points_survive_a_kill(store):
    body = "run = workspace.start_run()\nfor step in range(1000): run.log_metric('loss', 1.0)\n"
    script(store, body + "os.kill(os.getpid(), signal.SIGKILL)")
    with padre.open(store) as workspace:
        (run,) = workspace.runs.list()
        assert len(workspace.runs.points(run, "loss")) == 1000


def test_a_run_that_filled_a_log_ends_quietly_with_its_process(store):
    done = script(store, "run = workspace.start_run()\nrun.log_points('loss', [1.0] * 400_000)\n")
    assert done.stderr == ""
    assert only_run(store).status == "finished"


def test_a_lost_run_can_be_resumed_and_ended(store):
    script(store, "run = workspace.start_run()\nos.kill(os.getpid(), signal.SIGKILL)")
    with padre.open(store) as workspace:
        (run,) = workspace.runs.list()
        with workspace.start_run(resume=run):
            assert workspace.runs.get(run).status == "running"
        assert workspace.runs.get(run).status == "finished"


FORK = """
with workspace.start_run() as run:
    run.log_metric("loss", 0.0)
    child = os.fork()
    for step in range(100): run.log_metric("child" if child == 0 else "parent", 1.0)
    if child == 0: {ending}
    os.waitpid(child, 0)
    print(workspace.runs.get(run.id).status)
"""


@pytest.mark.parametrize("ending", ["os._exit(0)", "sys.exit(0)", "sys.exit(1)", "1 / 0"])
def test_a_forked_child_logs_through_a_writer_of_its_own_and_ends_nothing(store, ending):
    done = script(store, FORK.format(ending=ending))
    assert done.stdout == "running\n"
    with padre.open(store) as workspace:
        (run,) = workspace.runs.list()
        assert run.status == "finished"
        assert list(workspace.runs.points(run, "child").steps) == list(range(100))
        assert list(workspace.runs.points(run, "parent").steps) == list(range(100))
        assert len(workspace.runs.points(run, "loss")) == 1


POOL = """
from multiprocessing import get_context

def work(number):
    with padre.open({store!r}) as workspace, workspace.start_run(resume=run_id) as run:
        run.log_points("loss", [1.0] * 1000)

if __name__ == "__main__":
    with workspace.start_run() as run:
        run_id = run.id
        with get_context("fork").Pool(8) as pool:
            pool.map(work, range(8))
"""


def test_eight_processes_log_to_one_run_and_lose_no_point(store):
    done = script(store, POOL.format(store=store))
    assert done.returncode == 0, done.stderr
    with padre.open(store) as workspace:
        (run,) = workspace.runs.list()
        assert run.status == "finished"
        assert len(workspace.runs.points(run, "loss")) == 8000


def test_the_end_of_a_run_that_cannot_be_stored_does_not_hide_the_script_s_own_error(tmp_path):
    workspace = padre.open("memory://")
    with pytest.raises(ZeroDivisionError) as caught, workspace.start_run() as run:
        fail_after(workspace.runs.delete, run.id)
    assert "could not store the end" in caught.value.__notes__[0]
    workspace.runs.restore(run.id)
    workspace.close()


@pytest.mark.parametrize("values", [{"parameters": 5}, {"tags": ["a"]}, {"parameters": [("a", 1)]}])
def test_parameters_and_tags_that_are_no_dict_are_refused(workspace, values):
    with pytest.raises(padre.InvalidObjectError, match="expected a dict"):
        workspace.start_run("p/e", **values)


def test_a_run_that_is_refused_leaves_nothing(workspace):
    with pytest.raises(padre.InvalidObjectError, match=r"run\.parameters"):
        workspace.start_run("p/e", parameters={"a": {1}})
    assert list(workspace.backend.blobs()) == []
    assert workspace.projects.count() == 0


def test_what_is_no_mapping_or_number_is_refused_and_the_run_goes_on(workspace):
    run = workspace.start_run("p/e")
    for call in (run.log_parameters, run.set_tags, run.log_metrics):
        with pytest.raises(padre.InvalidObjectError, match="expected a dict"):
            call([("a", 1)])
    with pytest.raises(padre.InvalidObjectError, match=r"progress\.current"):
        run.log_progress("x")
    run.log_metric("m", 1.0)
    run.finish()


def test_a_part_of_a_run_that_was_deleted_meanwhile_ends_as_ever(workspace):
    outer = workspace.start_run()
    inner = workspace.start_run(parent=outer.object)
    outer.finish()
    workspace.runs.delete(outer.id)
    inner.log_parameters({"C": 1})
    inner.finish()
    stored = workspace.runs.get(inner.id)
    assert (stored.status, stored.parameters, stored.parent) == ("finished", {"C": 1}, outer.id)


def test_a_run_that_was_deleted_meanwhile_says_so_and_how_it_comes_back(workspace):
    run = workspace.start_run()
    workspace.runs.delete(run.id)
    with pytest.raises(padre.PadreError, match=f"was deleted.*{run.id}"):
        run.log_parameters({"C": 1})
    workspace.runs.restore(run.id)
    run.finish()
    assert workspace.runs.get(run.id).status == "finished"


def test_a_run_that_works_is_taken_wherever_a_run_is_meant(workspace):
    with workspace.start_run() as outer, workspace.start_run(parent=outer) as run:
        run.log_metric("loss", 0.5)
        run.log("text")
        workspace.splits.put(padre.Split(run=run, number=0))
        workspace.artifacts.upload(run, b"model", path="model")
    assert run.object.parent == outer.id
    assert workspace.runs.get(run).id == run.id
    assert list(workspace.runs.points(run, "loss").values) == [0.5]
    assert [line.text for line in workspace.runs.lines(run)] == ["text"]
    assert [split.number for split in workspace.splits.list(within=run)] == [0]
    assert [artifact.path for artifact in workspace.artifacts.list(within=run)] == ["model"]
    with workspace.start_run(resume=run) as again:
        assert again.id == run.id
    assert workspace.runs.delete([again, outer]) == 2
    assert workspace.runs.restore(run).id == run.id


def test_a_parameter_is_replaced_under_any_form_of_its_key(workspace):
    with workspace.start_run(parameters={"é": 1}) as run:
        run.log_parameters({"e\u0301": 2})
        run.set_tags({"é": "1"})
        run.set_tags({"e\u0301": "2"})
    assert (run.object.parameters, run.object.tags) == ({"é": 2}, {"é": "2"})


def test_a_run_that_works_says_how_another_process_joins_it(workspace):
    with workspace.start_run() as run, pytest.raises(padre.UnsupportedError, match=f"resume='{run.id}'"):
        pickle.dumps(run)

"""Processes that want the same thing at the same moment."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest

import padre_core as padre

pytestmark = pytest.mark.crash

ROUNDS = 200


class Racers:
    """Processes that have the same store open."""

    def __init__(self, url: str, count: int) -> None:
        self.processes = [
            subprocess.Popen(
                [sys.executable, Path(__file__).with_name("racer.py"), url],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(count)
        ]  # fmt: skip

    def race(self, *jobs: dict[str, Any]) -> list[Any]:
        """Lets each do its job, all from the same moment on, and returns their answers."""
        at = time.time() + 0.003
        for process, job in zip(self.processes, jobs, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps({**job, "at": at}) + "\n")
            process.stdin.flush()
        return [json.loads(process.stdout.readline()) for process in self.processes if process.stdout]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            process.communicate(timeout=300)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def url(tmp_path):
    url = f"file://{tmp_path}/store"
    padre.open(url).close()
    return url


def test_six_processes_that_create_the_same_experiment_make_one(url):
    with Racers(url, 6) as racers, padre.open(url) as workspace:
        for number in range(ROUNDS):
            ids = racers.race(*[{"do": "create", "name": f"round {number}", "fields": {"seed": number}}] * 6)
            assert len(set(ids)) == 1
            experiment = workspace.experiments.get(f"race/round {number}")
            assert (experiment.id, experiment.seed, experiment.conflicts) == (ids[0], number, ())
            assert experiment.etag.startswith("1-"), "equal content made a second version"
        assert workspace.experiments.count() == ROUNDS
        assert workspace.projects.count() == 1


def test_processes_that_set_different_fields_of_a_new_experiment_lose_none(url):
    with Racers(url, 6) as racers, padre.open(url) as workspace:
        for number in range(10):
            fields = [{"title": "t"}, {"description": "d"}, {"seed": 1}, {"pipeline": "p"}, {"domain": {"a": 1}}, {}]
            racers.race(*({"do": "create", "name": f"round {number}", "fields": mine} for mine in fields))
            found = workspace.experiments.get(f"race/round {number}")
            assert (found.title, found.description, found.seed, found.pipeline) == ("t", "d", 1, "p")
            assert (found.domain, found.conflicts) == ({"a": 1}, ())


def test_eight_processes_that_update_one_object_lose_no_update(url):
    with Racers(url, 8) as racers, padre.open(url) as workspace:
        id = workspace.experiments.put(padre.Experiment(name="shared", project="race")).id
        racers.race(*({"do": "update", "id": id, "me": me, "times": 12} for me in range(8)))
        found = workspace.experiments.get(id)
        assert found.tags.keys() == {f"{me}-{number}" for me in range(8) for number in range(12)}
        assert found.etag.startswith(f"{1 + 8 * 12}-")


def test_eight_processes_that_log_to_one_run_lose_no_point(url):
    times = 150
    with Racers(url, 8) as racers, padre.open(url) as workspace:
        with workspace.start_run("race/logged") as run:
            racers.race(*({"do": "log", "run": run.id, "me": me, "times": times} for me in range(8)))
        check_logged(workspace, run.id, times)
    with padre.open(url, readonly=True) as workspace:
        check_logged(workspace, run.id, times)
        assert [problem for problem in workspace.verify() if problem.code != "unused-blob"] == []


def check_logged(workspace: padre.Workspace, run: str, times: int) -> None:
    shared = workspace.runs.points(run, "loss")
    for me in range(8):
        steps = [step for step, value in zip(shared.steps, shared.values, strict=True) if value == me]
        assert steps == list(range(times))
        own = workspace.runs.points(run, f"of {me}")
        assert list(own.values) == [value for number in range(times) for value in (number, number + 0.5)]
    assert len(shared.values) == 8 * times
    assert workspace.runs.metrics(run)["loss"].count == 8 * times
    assert len(workspace.runs.lines(run)) == 8 * times

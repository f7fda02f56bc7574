"""Makes a store of the present layout for the tests: `python tests/stores/make.py tests/stores/layout-1`.

Stores of released layouts are kept as they are; a new one is made only when the layout's version grows.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path

import padre_core as padre
from padre_core.backends.backend import Write
from padre_core.objects import record
from padre_core.streams import log

AT = "2026-11-23T12:00:00.000000Z"


def fill(folder: Path) -> None:
    """Puts one object of each kind and one of each state into a store."""
    with padre.open(folder) as workspace:
        project = workspace.projects.put(padre.Project(name="digits", parent="vision", description="Ünï cødé"))
        dataset = workspace.datasets.put(
            padre.Dataset(name="digits", project=project, attributes=[padre.Attribute(name="pixel", unit="level")]),
            data={"csv": b"pixel\n0\n16\n"},
        )
        experiment = workspace.experiments.put(
            padre.Experiment(name="svc", project=project, datasets=[dataset], seed=42, hyperparameters={"C": [0.1, 1]})
        )
        code = workspace.codes.put(padre.Code(type="git", commit="0" * 40, file="train.py"))
        execution = workspace.executions.put(padre.Execution(experiment=experiment, code=code))
        run = workspace.runs.put(
            padre.Run(
                execution=execution, parameters={"C": 0.1, "nan": float("nan"), "big": 2**63 - 1}, status="finished"
            )
        )
        writer = workspace.runs.open_writer(run)
        for step in range(100):
            writer.point("loss", step, 1 / (step + 1), 1_700_000_000_000_000 + step)
            writer.point("train/f1", step, float("nan") if step % 2 else float("inf"), 1_700_000_000_000_000 + step)
        writer.close()
        workspace.splits.put(padre.Split(run=run, number=0, train=[0, 1, 2, 5], test=[3, 4]))
        workspace.computations.put(padre.Computation(run=run, component="estimator", parameters={"C": 0.1}))
        workspace.outputs.put(padre.Output(name="test", run=run, split=0), rows={"truth": [1, 0], "text": ["a", None]})
        workspace.metrics.put(padre.Metric(name="confusion", run=run, value=[[1, 0], [0, 1]]))
        workspace.artifacts.upload(run, b"weights", path="models/model.bin")
        workspace.projects.put(padre.Project(name="deleted"))
        workspace.projects.delete("deleted")
        diverge(workspace)
    log.SIZE = log.SMALL  # the log of a process that died is kept too, and should be small
    dead = multiprocessing.get_context("fork").Process(target=die, args=(folder,))
    dead.start()
    dead.join()


def diverge(workspace: padre.Workspace) -> None:
    """Leaves an object with a version that lost."""
    before = workspace.backend.projects.get(workspace.projects.put(padre.Project(name="torn")).id or "")
    sides = [
        record.successor(before, padre.Project(name="torn", title=title).content(), by="ada", at=AT)
        for title in ("ours", "theirs")
    ]
    workspace.backend.put_many([Write(side) for side in sides])


def die(folder: Path) -> None:
    """Writes a run and leaves it in the log."""
    workspace = padre.open(folder)
    run = workspace.start_run("vision/digits/svc", name="killed")
    run.log_metric("loss", 0.5)
    run.log("still here")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    os.environ["PADRE_CACHE"] = tempfile.mkdtemp()
    os.environ["PADRE_USER"] = "ada"
    fill(Path(sys.argv[1]))

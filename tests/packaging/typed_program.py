"""What a program writes that imports the library, as the documentation shows it: a strict type checker says nothing.

Checked by `make lint`, without the plugin of pydantic for mypy, which most programs do not have.
"""

from pathlib import Path
from typing import assert_type

import padre_core as padre


class Announce:
    @padre.hookimpl
    def padre_object_changed(self, event: padre.ObjectChanged) -> None:
        print(event.action, event.record.kind)


def train(workspace: padre.Workspace) -> padre.Run:
    with workspace.start_run("iris/svc", parameters={"C": 1.0}, tags={"stage": "draft"}) as run:
        run.log_metrics({"accuracy": 1, "loss": 0.3}, step=1)
        run.log_output("predictions", rows={"truth": [1, 2], "prediction": [1, 1]})
        run.log_split(0, train=range(100), test=[100, 101])
        assert_type(run.log_artifact(Path(__file__), path="code/program.py"), padre.Artifact)
    return run.object


def store(workspace: padre.Workspace) -> None:
    project = padre.Project(name="iris")
    experiment = workspace.experiments.put(padre.Experiment(name="svc", project=project, hyperparameters={"C": [1, 2]}))
    assert_type(experiment, padre.Experiment)
    code = workspace.codes.put(padre.Code(type="command", command=("train",)))
    execution = workspace.executions.put(padre.Execution(experiment=experiment, code=code))
    run = workspace.runs.put(padre.Run(execution=execution, status="finished"))
    workspace.splits.put(padre.Split(run=run, number=0, train=range(100)))
    workspace.metrics.put(padre.Metric(run=run, name="confusion", value=[[1, 0], [0, 1]]))


def find(workspace: padre.Workspace) -> None:
    for run in workspace.runs.list("metrics.accuracy.last > 0.9", order_by="-metrics.accuracy.last", limit=3):
        assert_type(run, padre.Run)
        assert_type(workspace.runs.points(run, "loss"), padre.Series)
        assert_type(workspace.runs.metrics(run)["loss"], padre.Summary)
        assert_type(workspace.artifacts.download(run, to="results"), list[Path])


with padre.open("memory://", extensions=[Announce()]) as opened:
    store(opened)
    find(opened)
    assert_type(opened.runs.get(train(opened)), padre.Run)

"""A process with an open store that does what it is told at the moment it is told, beside others."""

import json
import sys
import time
from typing import Any

import padre_core as padre


def create(workspace: padre.Workspace, job: dict[str, Any]) -> str:
    """Puts an experiment that others put too."""
    return str(workspace.experiments.put(padre.Experiment(name=job["name"], project="race", **job["fields"])).id)


def update(workspace: padre.Workspace, job: dict[str, Any]) -> None:
    """Adds tags to an experiment, one by one, each to the version that was read."""
    for number in range(job["times"]):
        while True:
            experiment = workspace.experiments.get(job["id"])
            experiment.tags = {**experiment.tags, f"{job['me']}-{number}": "x"}
            try:
                workspace.experiments.put(experiment)
            except padre.ConflictError:
                continue
            break


def log(workspace: padre.Workspace, job: dict[str, Any]) -> None:
    """Logs points and lines to a run."""
    with workspace.start_run(resume=job["run"]) as run:
        for number in range(job["times"]):
            run.log_metric("loss", job["me"], step=number)
            run.log_points(f"of {job['me']}", [number, number + 0.5])
            run.log(f"{job['me']} {number}")


def main() -> None:
    workspace = padre.open(sys.argv[1], durability="process")
    for line in sys.stdin:
        job = json.loads(line)
        while time.time() < job["at"]:
            pass
        answer = {"create": create, "update": update, "log": log}[job["do"]](workspace, job)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    workspace.close()


if __name__ == "__main__":
    main()

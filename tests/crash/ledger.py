"""What killed processes had done, and what a store says of it."""

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import padre_core as padre

State = dict[str, Any]
"""Experiments by name: the title, or None if deleted. Runs by name: what is known of each."""


def apply(state: State, act: dict[str, Any]) -> None:
    """Changes a state as an act does."""
    run = state["runs"].get(state["run"])
    match act["act"]:
        case "put":
            state["experiments"][act["name"]] = act["title"]
            state["titles"][act["name"]] = act["title"]
        case "delete":
            state["experiments"][act["name"]] = None
        case "restore":
            state["experiments"][act["name"]] = state["titles"][act["name"]]
        case "start":
            state["run"] = act["run"]
            state["runs"][act["run"]] = {"status": "lost", "points": 0, "lines": 0, "tag": None, "files": {}}
        case "points":
            run["points"] += act["count"]
        case "line":
            run["lines"] += 1
        case "artifact":
            run["files"][act["path"]] = act["size"]
        case "tag":
            run["tag"] = act["value"]
        case "finish":
            run["status"] = "finished"
        case "evict":
            state["experiments"].pop(act["name"])
        case "evict artifact":
            del state["runs"][act["of"]]["files"][act["path"]]
        case "evict run":
            state["gone"][act["of"]] = state["runs"].pop(act["of"])
        case "put run again":
            state["runs"][act["of"]] = state["gone"].pop(act["of"]) | {"points": 0, "lines": 0}
        case "transfer":
            state["runs"][act["of"]][act["stream"]] = act["end"]


def told(report: Path) -> tuple[State, State]:
    """What a report says was done, and what it would be with the act that was under way."""
    done: State = {"experiments": {}, "titles": {}, "runs": {}, "gone": {}, "run": None}
    pending: dict[str, Any] | None = None
    for line in report.read_text().splitlines() if report.exists() else []:
        if line != "done":
            pending = json.loads(line)
        elif pending:
            apply(done, pending)
            pending = None
    both = deepcopy(done)
    if pending:
        apply(both, pending)
    return done, both


def seen(workspace: padre.Workspace, name: str) -> State:
    """What the store says of all that a victim may have done."""
    experiments: dict[str, str | None] = {}
    for deleted in (False, True):
        for experiment in workspace.experiments.list(f"name matches '{name}-*'", deleted=deleted):
            if experiment.name != f"{name}-runs":
                experiments[experiment.name] = None if deleted else experiment.title
                found = workspace.experiments.get(experiment.id) if not deleted else None
                assert found is None or found == experiment, "a listing and get differ"
    runs = {str(run.name): _run(workspace, run) for run in workspace.runs.list(f"name matches '{name}-run-*'")}
    return {"experiments": experiments, "runs": runs}


def _run(workspace: padre.Workspace, run: padre.Run) -> State:
    assert workspace.runs.get(str(run.id)) == run, "a listing and get differ"
    series = workspace.runs.points(run, "loss")
    count = len(series.steps)
    assert list(series.steps) == list(range(count)), "points are missing or out of order"
    assert list(series.values) == [step / 7 for step in range(count)], "points changed"
    summary = workspace.runs.metrics(run).get("loss")
    assert (summary.count if summary else 0) == count, "the summary does not fit the points"
    if summary:
        assert math.isclose(summary.last, (count - 1) / 7)
        assert workspace.runs.count(f"name == '{run.name}' and metrics.loss.count == {count}") == 1
    lines = [line.text for line in workspace.runs.lines(run)]
    assert lines == [f"line {number}" for number in range(len(lines))], "lines are missing or out of order"
    files = {}
    for artifact in workspace.artifacts.list(within=run):
        assert workspace.artifacts.read(artifact) == bytes(artifact.size), "an artifact's bytes changed"
        files[artifact.path] = artifact.size
    return {
        "status": run.status.value,
        "points": count,
        "lines": len(lines),
        "tag": run.tags.get("tag"),
        "files": files,
    }


def disagreements(report: Path, found: State) -> list[str]:
    """Where a store differs from a report; what was under way when the process died may or may not be there."""
    done, both = told(report)
    messages = []
    for part in ("experiments", "runs"):
        for name in sorted(done[part].keys() | both[part].keys() | found[part].keys()):
            here = found[part].get(name, "absent")
            wanted = [state[part].get(name, "absent") for state in (done, both)]
            if here not in wanted:
                messages.append(f"{name} is {here}; it was acknowledged as {wanted[0]}, and {wanted[1]} was under way")
    return messages

"""Reads an experiment from a server by its URL: `read_shared.py padre+http://server https://server/v1/experiments/id`."""

import sys

import padre_core as padre


def main(server: str, url: str) -> None:
    """Shows the experiment and its best run."""
    with padre.open(server, readonly=True) as team:
        experiment = team.experiments.get(url)
        best = team.runs.list(order_by="-metrics.accuracy.last", within=experiment, limit=1)
        for run in best:
            accuracy = team.runs.metrics(run)["accuracy"].last
            print(f"{experiment.name} has {team.runs.count(within=experiment)} runs; the best reached {accuracy:.4f}")
            losses = team.runs.points(run, "loss/fold-0")
            print(f"its loss on fold 0 fell from {losses.values[0]:.3f} to {losses.values[-1]:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])

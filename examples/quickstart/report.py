"""Opens what train.py stored, shows the best runs, and computes their accuracy again from the stored rows."""

import padre_core as padre


def main() -> None:
    """Lists, filters and proves."""
    with padre.open(readonly=True) as workspace:
        everything = workspace.runs.count(within="quickstart/digits-sgd")
        best = workspace.runs.list(
            where='status == "finished" and metrics.accuracy.last > 0.9',
            order_by="-metrics.accuracy.last",
            within="quickstart/digits-sgd",
            limit=3,
        )
        print(f"{everything} runs; the best of those above 0.9:\n")
        print(f"{'run':38}{'alpha':>8}{'penalty':>9}{'accuracy':>10}")
        for run in best:
            stored = workspace.runs.metrics(run)["accuracy"].last
            print(f"{run.id:38}{run.parameters['alpha']:>8}{run.parameters['penalty']:>9}{stored:>10.4f}")
            recomputed = accuracy(workspace, run)
            if recomputed != stored:
                raise SystemExit(f"run {run.id}: stored {stored!r}, but the rows give {recomputed!r}")
        print("\nThe stored rows give the same accuracy for each of them.")


def accuracy(workspace: padre.Workspace, run: padre.Run) -> float:
    """The share of right predictions over all folds."""
    right = total = 0
    for output in workspace.outputs.list(where='name == "predictions"', within=run):
        rows = workspace.outputs.rows(output)
        right += sum(truth == guess for truth, guess in zip(rows["truth"], rows["prediction"], strict=True))
        total += len(rows["truth"])
    return right / total


if __name__ == "__main__":
    main()

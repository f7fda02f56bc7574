"""What runs that were read say of their points."""

import padre_core as padre


def test_listed_runs_know_what_their_metrics_came_to(tmp_path):
    with padre.open(tmp_path / "store") as workspace:
        for number in range(2):
            with workspace.start_run("lab/curves") as run:
                run.log_metrics({"loss": 1.0 + number, "accuracy": 0.5}, step=0)
                run.log_metric("loss", 0.25 + number, step=1)
        found = [run.metrics for run in workspace.runs.list(order_by="metrics.loss.last")]
    assert [metrics["loss"].last for metrics in found] == [0.25, 1.25]
    assert found[0]["loss"].max == 1.0
    assert found[0]["accuracy"].count == 1


def test_a_run_that_was_never_stored_has_no_metrics():
    assert padre.Run(execution="x").metrics == {}

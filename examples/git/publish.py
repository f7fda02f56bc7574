"""Trains on handwritten digits, publishes to a bare git repository, and reads it in a plain clone elsewhere.

Makes ./digits-store, ./digits.git and ./digits-clone; the repository may as well be one on a server, `git+https://…`.
"""

import os
import subprocess
import sys
from pathlib import Path

import padre_core as padre

STORE, REPOSITORY, CLONE = Path("digits-store"), Path("digits.git"), Path("digits-clone")
TRAINING = Path(__file__).parents[1] / "quickstart" / "train.py"


def main() -> None:
    """Trains, publishes, clones and reads."""
    subprocess.run([sys.executable, TRAINING], env={**os.environ, "PADRE_URL": str(STORE)}, check=True)
    remote = f"git+{REPOSITORY.absolute().as_uri()}"
    with padre.open(STORE, remotes={"team": remote}) as workspace:
        report = workspace.remotes.push(remotes=["team"])
        print(f"published {len(report.steps['team'])} objects to {REPOSITORY}")

    subprocess.run(["git", "clone", "--quiet", "--branch", "padre", REPOSITORY, CLONE], check=True)
    with padre.open(CLONE, readonly=True) as workspace:
        best = next(iter(workspace.runs.list(order_by="-metrics.accuracy.last", limit=1)))
        accuracy = workspace.runs.points(best, "accuracy").values[-1]
        print(f"{best.id}  {dict(best.parameters)}  accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()

"""Shares what train.py stored: a server, somebody who signs in, a copy on the server, a second process that reads it.

The server keeps its store and its users in folders beside `padre-store`, and is stopped in the end.
"""

import subprocess
import sys
from pathlib import Path

import padre_core as padre

sys.path.insert(0, str(Path(__file__).parent))  # where Python is told not to look beside a script
from team import serving, signed_in

SHARED = "quickstart/digits-sgd"


def main() -> None:
    """Serves, signs in, copies, reads elsewhere, and cleans up."""
    with serving() as address, signed_in(address):
        with padre.open(f"padre+{address}") as team, padre.open(readonly=True) as workspace:
            report = padre.copy(workspace, team, within=SHARED)
            brought = f"{report.objects} objects, {report.points} points and {report.blobs} files"
            print(f"copied {brought}, and compared them", flush=True)
            url = team.experiments.url(SHARED)
        reader = Path(__file__).with_name("read_shared.py")
        subprocess.run([sys.executable, "-P", reader, f"padre+{address}", url], check=True)
    print("the server has stopped")


if __name__ == "__main__":
    main()

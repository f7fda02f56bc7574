"""PaDRe as most will use it: a store on this machine, and a server that has all of it too."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import padre_core as padre
from benchmarks.subjects.padre_server import ServedPadre
from padre_core.objects.references import Ref


class LocalFirstPadre(ServedPadre):
    """What is logged is stored here, and travels in the background."""

    policy: ClassVar[str] = "auto"
    late_imports = (*ServedPadre.late_imports, "padre_core.services.remotes")

    def open(self) -> None:
        address = f"http://127.0.0.1:{self.port}"
        os.environ["PADRE_TOKEN"] = f"{address} {self.token}"
        local = self.folder.parent / "local"
        Path("padre.toml").write_text(
            f'url = "{local}"\n[remotes.lab]\nurl = "padre+{address}"\npolicy = "{self.policy}"\n'
        )
        self.workspace = padre.open(local)
        self.experiment = "benchmark/trackers"

    def read_points(self, run_id: str, name: str) -> Sequence[float]:
        """As everybody else reads them: from the server."""
        with padre.open(f"padre+http://127.0.0.1:{self.port}", token=self.token) as everybody:
            return everybody.runs.points(run_id, name).values

    def change(self, run_id: str, number: int) -> None:
        run = self.workspace.runs.get(run_id, refresh="never")
        run.tags = {**run.tags, "number": str(number)}
        self.workspace.runs.put(run)

    def synchronise(self) -> None:
        if self.workspace.remotes.sync().failed:
            raise AssertionError("not all could travel")

    def push(self) -> None:
        self.workspace.remotes.push([self._travels()])

    def fetch(self, target: Path) -> None:
        with padre.open(target, remotes={"lab": f"padre+http://127.0.0.1:{self.port}"}) as other:
            other.remotes.pull([self._travels()])

    def _travels(self) -> Ref:
        return "experiment", str(self.workspace.experiments.get(self.experiment, refresh="never").id)


class ManualPadre(LocalFirstPadre):
    """What is logged stays here until somebody pushes it."""

    policy = "manual"

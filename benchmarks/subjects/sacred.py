"""Sacred with its observer of files; it has no interface for reading."""

from collections.abc import Callable
from pathlib import Path

from sacred import Experiment
from sacred.observers import FileStorageObserver
from sacred.run import Run

from benchmarks.subject import Subject


class Sacred(Subject[Run]):
    """Sacred calls the code of a run itself; tags go into its information."""

    def open(self) -> None:
        self.experiment = Experiment("trackers", save_git_info=False)
        self.experiment.observers.append(FileStorageObserver(self.folder, copy_artifacts=True, copy_sources=False))
        self.body: Callable[[Run], None]

        @self.experiment.main  # type: ignore[untyped-decorator]
        def call_body(_run: Run) -> None:
            self.body(_run)

    def close(self) -> None:
        """Each finished run has been written."""

    def run(self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[Run], None]) -> str:
        self.body = body
        # By force, for Sacred wants to know of all parameters before.
        options = {"--loglevel": "ERROR", "--force": True}
        done = self.experiment.run(config_updates=parameters, info={"tags": tags}, options=options)
        return str(done._id)

    def log_point(self, run: Run, name: str, value: float, step: int) -> None:
        run.log_scalar(name, value, step)

    def put_files(self, run: Run, source: Path) -> None:
        for path in source.iterdir() if source.is_dir() else [source]:
            run.add_artifact(path)

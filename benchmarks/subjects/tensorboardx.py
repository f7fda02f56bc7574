"""tensorboardX: a file of events a run, written and never read."""

from collections.abc import Callable
from uuid import uuid4

from tensorboardX import SummaryWriter

from benchmarks.subject import Subject


class TensorboardX(Subject[SummaryWriter]):
    """Parameters are what tensorboardX calls hyperparameters, and so are tags."""

    def open(self) -> None:
        """There is no store but the folder."""

    def close(self) -> None:
        """Each finished run has been written."""

    def run(
        self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[SummaryWriter], None]
    ) -> str:
        run_id = uuid4().hex
        with SummaryWriter(str(self.folder / run_id)) as writer:
            writer.add_hparams({**parameters, **tags}, {}, name="parameters")
            body(writer)
        return run_id

    def log_point(self, run: SummaryWriter, name: str, value: float, step: int) -> None:
        run.add_scalar(name, value, step)

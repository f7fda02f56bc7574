"""What every subject stores, and what a later process must know of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.subject import Subject

AnySubject = Subject[Any]

TAGS = {"team": "vision", "stage": "trial", "machine": "node-7"}
BATCH = 1000


def parameters(number: int) -> dict[str, float | str]:
    """Ten parameters; `model` has ten values, so that a search by it keeps a tenth of the runs."""
    return {"model": f"m{number % 10}", "C": number / 100, **{f"p{index}": index * 0.5 for index in range(8)}}


def accuracy(number: int) -> float:
    """Spread evenly over 0 to 1, in no order."""
    return number * 0.6180339887 % 1.0


def nothing(_run: object) -> None:
    """The body of a run that logs nothing."""


def value(step: int) -> float:
    """The point at a step: a loss that falls, with all its digits."""
    return 1 / (1 + step)


@dataclass(frozen=True)
class Facts:
    """What a prepared store holds, kept beside it.

    Attributes:
        ids: The ids of its runs, oldest first.
        points: How many points its first run has of the metric `loss`.
    """

    ids: list[str]
    points: int = 1

    def save(self, folder: Path) -> None:
        """Write them for the store in `folder`."""
        (folder.parent / "facts.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read them for the store in `folder`."""
        return cls(**json.loads((folder.parent / "facts.json").read_text()))

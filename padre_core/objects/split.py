"""Splits: which rows were for training, validation and test."""

from typing import Annotated, ClassVar

from pydantic import Field

from padre_core.objects.base import PadreObject, Reference
from padre_core.objects.indices import Indices


class Split(PadreObject, init=False):
    """One division of a dataset's rows within a run, such as a fold.

    Attributes:
        number: Counts the splits of a run, from 0.
        dataset: The dataset whose rows are meant.
    """

    kind: ClassVar[str] = "split"
    folder: ClassVar[str] = "splits"
    parents: ClassVar[tuple[str, ...]] = ("run",)
    parent_field: ClassVar[str | None] = "run"

    run: Reference
    number: Annotated[int, Field(ge=0, lt=2**63)]
    dataset: Reference | None = None
    train: Indices = Indices()
    validation: Indices = Indices()
    test: Indices = Indices()

    def key(self) -> tuple[str | int | None, ...]:
        return (self.number,)

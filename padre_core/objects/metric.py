"""Metrics: named measurements of a run."""

from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr

from padre_core.objects.base import Json, Key, PadreObject, Reference
from padre_core.objects.summary import Summary


class Metric(PadreObject, init=False):
    """A named measurement of a run, or of one of its splits or computations.

    A metric is either put with a structured `value`, such as a confusion matrix, or follows from logged points; then
    it has no split, no computation and no value, and its `summary` is derived.
    """

    kind: ClassVar[str] = "metric"
    folder: ClassVar[str] = "metrics"
    parents: ClassVar[tuple[str, ...]] = ("run",)
    parent_field: ClassVar[str | None] = "run"

    name: Key
    run: Reference
    split: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    computation: Reference | None = None
    value: Json = None

    _summary: Summary | None = PrivateAttr(default=None)

    @property
    def summary(self) -> Summary | None:
        """Count, first, last, minimum, maximum and mean of the points; None where there are none."""
        return self._summary

    def key(self) -> tuple[str | int | None, ...]:
        return (self.name, self.split, self.computation)

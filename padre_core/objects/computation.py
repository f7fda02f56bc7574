"""Computations: the work of one component of a pipeline."""

from typing import Annotated, ClassVar

from pydantic import Field

from padre_core.objects.base import Json, JsonMap, Key, PadreObject, Reference
from padre_core.objects.experiment import References


class Computation(PadreObject, init=False):
    """What one component of the pipeline did within a run.

    Attributes:
        component: Its name in the pipeline.
        ordinal: Tells several computations of one component apart, from 0.
        predecessors: The ids of the computations whose results it used.
        split: The number of the split that it worked on.
        result: Small and structured; large results are outputs or artifacts.
    """

    kind: ClassVar[str] = "computation"
    folder: ClassVar[str] = "computations"
    parents: ClassVar[tuple[str, ...]] = ("run",)
    parent_field: ClassVar[str | None] = "run"

    run: Reference
    component: Key
    ordinal: Annotated[int, Field(ge=0, lt=2**63)] = 0
    predecessors: References = ()
    split: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    parameters: JsonMap = Field(default_factory=dict)
    result: Json = None

    def key(self) -> tuple[str | int | None, ...]:
        return (self.component, self.ordinal)

"""Outputs: results per row, or any structured result."""

from typing import Annotated, ClassVar

from pydantic import Field

from padre_core.objects.base import BlobReference, Json, Key, PadreObject, Part, Reference


class Rows(Part):
    """Where the columns of an output are.

    Attributes:
        blob: Columns in the format of `padre_core.objects.columns`.
        columns: Their names in order.
        count: Rows.
    """

    blob: BlobReference
    columns: tuple[str, ...]
    count: int


class Output(PadreObject, init=False):
    """What a run produced: a table with one line for each row of the data, or a structured value.

    Per-row outputs usually have the columns `row`, `truth`, `prediction` and one or more of `probabilities`, so
    that any metric can be computed again.
    """

    kind: ClassVar[str] = "output"
    folder: ClassVar[str] = "outputs"
    parents: ClassVar[tuple[str, ...]] = ("run",)
    parent_field: ClassVar[str | None] = "run"

    name: Key
    run: Reference
    split: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    rows: Rows | None = None
    value: Json = None

    def key(self) -> tuple[str | int | None, ...]:
        return (self.name, self.split)

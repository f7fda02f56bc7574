"""Executions: an experiment at one version of the code."""

from typing import ClassVar

from padre_core.objects.base import PadreObject, Reference


class Execution(PadreObject, init=False):
    """An experiment at one version of the code, and nothing else of its own.

    Attributes:
        code: The id of the code version; the same code gives the same execution.
    """

    kind: ClassVar[str] = "execution"
    folder: ClassVar[str] = "executions"
    parents: ClassVar[tuple[str, ...]] = ("experiment",)
    parent_field: ClassVar[str | None] = "experiment"
    frozen_fields: ClassVar[frozenset[str]] = frozenset({"code"})

    experiment: Reference
    code: Reference

    def key(self) -> tuple[str | int | None, ...]:
        return (self.code,)

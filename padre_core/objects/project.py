"""Projects: named collections of experiments."""

from typing import ClassVar

from padre_core.objects.base import NamedObject, Reference


class Project(NamedObject, init=False):
    """A named collection of experiments; may lie in a parent project."""

    kind: ClassVar[str] = "project"
    folder: ClassVar[str] = "projects"
    parents: ClassVar[tuple[str, ...]] = ("project",)
    parent_field: ClassVar[str | None] = "parent"
    parent_required: ClassVar[bool] = False

    parent: Reference | None = None

"""Datasets: what experiments work on."""

from typing import Annotated, Any, ClassVar

from padre_core.objects import canonical
from padre_core.objects.base import BlobReference, Given, Json, Key, NamedObject, Part, Reference
from padre_core.objects.experiment import References
from padre_core.objects.identity import check_key


class Attribute(Part):
    """One column of a dataset.

    Attributes:
        type: What the values are, such as `float`, `int`, `text`, `nominal` or an ontology's term.
        context: Anything else that belongs to the column, such as its role in a graph.
        target: Whether it is what models should predict.
    """

    context: Json = None
    description: str | None = None
    measurement_level: str | None = None
    name: Key
    nullable: bool = False
    target: bool = False
    type: str | None = None
    unit: str | None = None


class Dataset(NamedObject, init=False):
    """One version of a dataset, in a project or shared by the whole store; its content never changes.

    Attributes:
        version: By default the digest of attributes, formats and sources.
        formats: The data itself: format (such as `csv` or `parquet`) to bytes.
        origin: Where the data came from, such as a citation or an address.
        derived_from: Ids of the datasets that it was made from.
    """

    kind: ClassVar[str] = "dataset"
    folder: ClassVar[str] = "datasets"
    parents: ClassVar[tuple[str, ...]] = ("project",)
    parent_field: ClassVar[str | None] = "project"
    parent_required: ClassVar[bool] = False
    frozen_fields: ClassVar[frozenset[str]] = frozenset({"attributes", "formats", "origin", "derived_from"})

    project: Reference | None = None
    version: Annotated[str, Given(check_key)] | None = None
    attributes: tuple[Attribute, ...] = ()
    formats: dict[Key, BlobReference] = {}
    origin: str | None = None
    derived_from: References = ()

    def model_post_init(self, context: object) -> None:
        if self.version is None:
            frozen = {name: canonical.plain(getattr(self, name), name) for name in sorted(self.frozen_fields)}
            self.__dict__["version"] = canonical.digest(canonical.canonical_json(frozen))[:16]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self.frozen_fields and self._stored is None and "version" not in self.model_fields_set:
            self.__dict__["version"] = None
            self.model_post_init(None)

    def key(self) -> tuple[str | int | None, ...]:
        return (self.name, self.version)

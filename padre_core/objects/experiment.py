"""Experiments: what is to be found out, and with which set-up."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from padre_core.objects.base import Json, JsonMap, NamedObject, Reference, reference


def _references(value: object) -> object:
    return [reference(item) for item in value] if isinstance(value, list | tuple) else value


References = Annotated[tuple[str, ...], BeforeValidator(_references)]


class Experiment(NamedObject, init=False):
    """A set-up that executions run: pipeline, datasets, seed, configuration and hyperparameters.

    Attributes:
        pipeline: The definition of the pipeline as JSON, such as its components and their order.
        datasets: Ids or name paths of the datasets it works on.
        domain: What the field calls it: task, target, population, instrument, ….
    """

    kind: ClassVar[str] = "experiment"
    folder: ClassVar[str] = "experiments"
    parents: ClassVar[tuple[str, ...]] = ("project",)
    parent_field: ClassVar[str | None] = "project"

    project: Reference
    pipeline: Json = None
    datasets: References = ()
    seed: int | None = None
    configuration: JsonMap = Field(default_factory=dict)
    hyperparameters: JsonMap = Field(default_factory=dict)
    domain: JsonMap = Field(default_factory=dict)

"""The kinds of objects: a registry that plugins may add to."""

from __future__ import annotations

from padre_core.errors import InvalidObjectError, PluginConflictError
from padre_core.objects.artifact import Artifact
from padre_core.objects.base import PadreObject
from padre_core.objects.code import Code
from padre_core.objects.computation import Computation
from padre_core.objects.dataset import Dataset
from padre_core.objects.execution import Execution
from padre_core.objects.experiment import Experiment
from padre_core.objects.metric import Metric
from padre_core.objects.output import Output
from padre_core.objects.project import Project
from padre_core.objects.run import Run
from padre_core.objects.split import Split

_KINDS: dict[str, type[PadreObject]] = {}


def register_kind(model: type[PadreObject]) -> type[PadreObject]:
    """Adds a kind; usable as a decorator. Call it before a workspace opens, from the module of an extension.

    Raises:
        PluginConflictError: Another class has the kind's name or folder.
    """
    for other in _KINDS.values():
        if other is not model and (other.kind == model.kind or other.folder == model.folder):
            raise PluginConflictError(
                f"{model.__module__}.{model.__qualname__} and {other.__module__}.{other.__qualname__} "
                f"both want the kind {model.kind!r} in {model.folder!r}; rename one of them"
            )
    _KINDS[model.kind] = model
    return model


def kinds() -> tuple[type[PadreObject], ...]:
    """All registered kinds, parents before children."""
    return tuple(_KINDS.values())


def kind_of(name: str) -> type[PadreObject]:
    """The class of a kind.

    Raises:
        InvalidObjectError: There is no such kind.
    """
    try:
        return _KINDS[name]
    except KeyError:
        raise InvalidObjectError(f"there is no kind {name!r:.80}; the kinds are {', '.join(_KINDS)}") from None


for _model in (
    Project, Dataset, Code, Experiment, Execution, Run, Split, Computation, Output, Metric, Artifact,
):  # fmt: skip
    register_kind(_model)

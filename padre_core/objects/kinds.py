"""The kinds of objects: a registry that plugins may add to."""

from __future__ import annotations

import re
from typing import Final

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

RESERVED: Final = frozenset({
    "blobs", "changes", "info", "live", "log", "quarantine", "records", "refresh", "session", "snapshots", "streams",
    "sync", "uploads", "verify", "whoami",
})  # fmt: skip
"""What stores keep, and servers answer, beside the folders of kinds."""

_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_KINDS: dict[str, type[PadreObject]] = {}


def register_kind(model: type[PadreObject]) -> type[PadreObject]:
    """Adds a kind; usable as a decorator. Call it before a workspace opens, from the module of an extension.

    Raises:
        PluginConflictError: Another class has the kind's name or folder, or PaDRe uses the folder itself.
        InvalidObjectError: The class is no kind: its name, folder or parents will not do.
    """
    _check(model)
    for other in _KINDS.values():
        if other is not model and (other.kind == model.kind or other.folder == model.folder):
            raise PluginConflictError(
                f"{model.__module__}.{model.__qualname__} and {other.__module__}.{other.__qualname__} "
                f"both want the kind {model.kind!r} in {model.folder!r}; rename one of them"
            )
    _KINDS[model.kind] = model
    return model


def _check(model: type[PadreObject]) -> None:
    if not (isinstance(model, type) and issubclass(model, PadreObject)):
        raise InvalidObjectError(f"a kind is a subclass of PadreObject, not {model!r:.80}")
    place = f"{model.__module__}.{model.__qualname__}"
    for name in ("kind", "folder"):
        word = getattr(model, name, None)
        if not (isinstance(word, str) and _WORD.fullmatch(word)):
            raise InvalidObjectError(f"{place}: its {name} is one word of a-z, 0-9 and _, not {word!r:.80}")
    if model.folder in RESERVED:
        raise PluginConflictError(f"{place} wants the folder {model.folder!r}, which PaDRe uses itself; rename it")
    for parent in model.parents:
        if parent != model.kind and parent not in _KINDS:
            raise InvalidObjectError(f"{place}: its parent {parent!r:.80} is none of the kinds: {', '.join(_KINDS)}")
    if model.parents and model.parent_field not in model.model_fields:
        raise InvalidObjectError(f"{place} has parents, but no field as parent_field says: {model.parent_field!r:.80}")


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

"""Store machine-learning experiments anywhere.

    import padre_core as padre

    with padre.open() as workspace, workspace.start_run("iris/svc", parameters={"C": 1.0}) as run:
        run.log_metric("loss", 0.31)

`open` gives a `Workspace`, whose services (`workspace.runs`, …) find what is stored; `docs/index.md` goes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from padre_core.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    AuthenticationError,
    BackendError,
    ConflictError,
    CorruptObjectError,
    IncompatiblePluginError,
    InvalidObjectError,
    NotFoundError,
    PadreError,
    PluginConflictError,
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
    ReadOnlyError,
    UnavailableError,
    UnsupportedError,
)
from padre_core.later import imported_later

if TYPE_CHECKING:
    from padre_core.hookspecs import Logged, ObjectChanged, Progressed, Request, Started, Stopped, hookimpl
    from padre_core.objects.artifact import Artifact
    from padre_core.objects.base import BlobReference, PadreObject, RemoteState
    from padre_core.objects.code import Code, CodeType
    from padre_core.objects.computation import Computation
    from padre_core.objects.dataset import Attribute, Dataset
    from padre_core.objects.execution import Execution
    from padre_core.objects.experiment import Experiment
    from padre_core.objects.indices import Indices
    from padre_core.objects.kinds import kind_of, kinds, register_kind
    from padre_core.objects.metric import Metric
    from padre_core.objects.output import Output
    from padre_core.objects.project import Project
    from padre_core.objects.run import Environment, Progress, Run, RunError, RunStatus
    from padre_core.objects.split import Split
    from padre_core.objects.summary import Summary
    from padre_core.services.listing import Listing
    from padre_core.services.series import Series
    from padre_core.services.transfer import CopyReport
    from padre_core.tracking import ActiveRun, RunHandler
    from padre_core.workspace import Workspace, copy, open

__version__ = "0.1.0"

_LATER = {
    "padre_core.hookspecs": (
        "Logged", "ObjectChanged", "Progressed", "Request", "Started", "Stopped", "hookimpl",
    ),
    "padre_core.objects.artifact": ("Artifact",),
    "padre_core.objects.base": ("BlobReference", "PadreObject", "RemoteState"),
    "padre_core.objects.code": ("Code", "CodeType"),
    "padre_core.objects.computation": ("Computation",),
    "padre_core.objects.dataset": ("Attribute", "Dataset"),
    "padre_core.objects.execution": ("Execution",),
    "padre_core.objects.experiment": ("Experiment",),
    "padre_core.objects.indices": ("Indices",),
    "padre_core.objects.kinds": ("kind_of", "kinds", "register_kind"),
    "padre_core.objects.metric": ("Metric",),
    "padre_core.objects.output": ("Output",),
    "padre_core.objects.project": ("Project",),
    "padre_core.objects.run": ("Environment", "Progress", "Run", "RunError", "RunStatus"),
    "padre_core.objects.split": ("Split",),
    "padre_core.objects.summary": ("Summary",),
    "padre_core.services.listing": ("Listing",),
    "padre_core.services.series": ("Series",),
    "padre_core.services.transfer": ("CopyReport",),
    "padre_core.tracking": ("ActiveRun", "RunHandler"),
    "padre_core.workspace": ("Workspace", "copy", "open"),
}  # fmt: skip

__all__ = [
    "AccessDeniedError",
    "ActiveRun",
    "AlreadyExistsError",
    "Artifact",
    "Attribute",
    "AuthenticationError",
    "BackendError",
    "BlobReference",
    "Code",
    "CodeType",
    "Computation",
    "ConflictError",
    "CopyReport",
    "CorruptObjectError",
    "Dataset",
    "Environment",
    "Execution",
    "Experiment",
    "IncompatiblePluginError",
    "Indices",
    "InvalidObjectError",
    "Listing",
    "Logged",
    "Metric",
    "NotFoundError",
    "ObjectChanged",
    "Output",
    "PadreError",
    "PadreObject",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "Progress",
    "Progressed",
    "Project",
    "ReadOnlyError",
    "RemoteState",
    "Request",
    "Run",
    "RunError",
    "RunHandler",
    "RunStatus",
    "Series",
    "Split",
    "Started",
    "Stopped",
    "Summary",
    "UnavailableError",
    "UnsupportedError",
    "Workspace",
    "copy",
    "hookimpl",
    "kind_of",
    "kinds",
    "open",
    "register_kind",
]


# `padre --help` and whoever wants one class need not wait for all the others.
__getattr__ = imported_later(__name__, _LATER)


def __dir__() -> list[str]:
    return sorted({"__version__", *__all__})

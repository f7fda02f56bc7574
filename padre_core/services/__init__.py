"""What users call: one service for each kind of object."""

from padre_core.services.artifacts import ArtifactService
from padre_core.services.datasets import DatasetService
from padre_core.services.executions import ExecutionService
from padre_core.services.hooks import Hooks
from padre_core.services.listing import Listing
from padre_core.services.metrics import MetricService
from padre_core.services.outputs import OutputService
from padre_core.services.records import Records
from padre_core.services.runs import RunService
from padre_core.services.series import Series
from padre_core.services.service import Service

__all__ = [
    "ArtifactService",
    "DatasetService",
    "ExecutionService",
    "Hooks",
    "Listing",
    "MetricService",
    "OutputService",
    "Records",
    "RunService",
    "Series",
    "Service",
]

"""What a run needs of the workspace that it is stored in."""

from __future__ import annotations

from typing import Protocol

from padre_core.objects.code import Code
from padre_core.objects.computation import Computation
from padre_core.objects.execution import Execution
from padre_core.objects.experiment import Experiment
from padre_core.objects.split import Split
from padre_core.services.artifacts import ArtifactService
from padre_core.services.outputs import OutputService
from padre_core.services.records import Records
from padre_core.services.runs import RunService
from padre_core.services.service import Service


class Home(Protocol):
    """A workspace, as far as tracking knows it."""

    @property
    def records(self) -> Records:
        """The way to the backend and the hooks."""

    @property
    def artifacts(self) -> ArtifactService: ...
    @property
    def codes(self) -> Service[Code]: ...
    @property
    def computations(self) -> Service[Computation]: ...
    @property
    def executions(self) -> Service[Execution]: ...
    @property
    def experiments(self) -> Service[Experiment]: ...
    @property
    def outputs(self) -> OutputService: ...
    @property
    def runs(self) -> RunService: ...
    @property
    def splits(self) -> Service[Split]: ...

"""Executions: an experiment at one version of the code."""

from __future__ import annotations

from padre_core.objects.execution import Execution
from padre_core.objects.identity import check_id
from padre_core.objects.record import Record
from padre_core.services.service import Service


class ExecutionService(Service[Execution]):
    """Stores and finds executions."""

    def _check_links(self, draft: Execution, before: Record | None) -> None:
        if before is None:
            self.records.place("code", check_id(draft.code))

"""What a training script calls."""

from padre_core.tracking.active import ActiveRun
from padre_core.tracking.handler import RunHandler
from padre_core.tracking.start import end_runs, start_run

__all__ = ["ActiveRun", "RunHandler", "end_runs", "start_run"]

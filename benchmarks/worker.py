"""One workload for one subject, in a process of its own: `python -P worker.py job.json`.

Runs in the subject's environment, from a folder that belongs to nobody.
"""

import json
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    # Last, so that what is installed is measured and not what lies in the tree.
    sys.path.append(str(ROOT))

from benchmarks.meter import Meter  # noqa: E402  (needs the path above)


@dataclass(frozen=True)
class Job:
    """What to do, as the runner says it.

    Attributes:
        subject: The adapter, as `module:class` in `benchmarks.subjects`.
        workload: The function, as `module:function` in `benchmarks.workloads`.
        uses: What the subject must support; without it there are no figures.
        folder: The store.
        size: How much work.
        budget: Seconds after which slow work may stop.
        result: Where the figures go.
    """

    subject: str
    workload: str
    uses: str
    folder: str
    size: int
    budget: float
    result: str

    def save(self, path: Path) -> None:
        """Write it for a worker."""
        path.write_text(json.dumps(asdict(self)))


def load(package: str, target: str) -> Any:
    """The object that `module:name` means in a package of ours."""
    module, name = target.split(":")
    return getattr(import_module(f"benchmarks.{package}.{module}"), name)


def main(path: str) -> None:
    """Do the job of a file and write its figures to another."""
    job = Job(**json.loads(Path(path).read_text()))
    subject = load("subjects", job.subject)(Path(job.folder))
    for name in subject.late_imports:
        import_module(name)
    meter = Meter(job.budget)
    if subject.supports(job.uses):
        with subject.serving():
            load("workloads", job.workload)(subject, meter, job.size)
    Path(job.result).write_text(json.dumps(meter.figures))


if __name__ == "__main__":
    main(sys.argv[1])

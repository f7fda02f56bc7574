"""The catalogue of workloads, in the order in which they run and are reported."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Store:
    """A store that must be there before a workload.

    Attributes:
        target: Function of `benchmarks.workloads` that fills it, as `module:function`.
        size: How many runs or points it holds.
        budget: Seconds after which a slow tracker may stop; what reads it is scaled then.
    """

    target: str
    size: int
    budget: float = 20


@dataclass(frozen=True)
class Workload:
    """One row or more of the report.

    Attributes:
        key: Its name on the command line and in results.
        title: What it does, for the report.
        target: The function that does it, as `module:function` in `benchmarks.workloads`.
        size: How much of it.
        quick: How much of it with `--quick`.
        uses: The method of a subject without which it makes no sense.
        store: What must be stored before; the workload's size is the store's.
        changes_store: It gets a copy of the store, for others read it too.
        whole_process: Its one figure, `all`, is a whole process of `starter.py`, which takes the target as it is.
        subjects: Names of the only subjects, where the others have nothing to show.
        served: Subjects behind a server do it too.
    """

    key: str
    title: str
    target: str
    size: int
    quick: int
    uses: str = "run"
    store: Store | None = None
    changes_store: bool = False
    whole_process: bool = False
    subjects: tuple[str, ...] = ()
    served: bool = False

    def suits(self, subject: str, *, served: bool, named: bool = False) -> bool:
        """Whether a subject is to do it; one that does only what names it says `named`."""
        return subject in self.subjects if self.subjects else not named and (self.served or not served)

    def sized(self, *, quick: bool) -> "Workload":
        """The same workload at the size it is to run at."""
        size = self.quick if quick else self.size
        return replace(self, size=size, store=replace(self.store, size=size) if self.store else None)


RUNS = Store("stores:runs", 2000, budget=600)
POINTS = Store("stores:points", 100_000)
PROCESS = ("padre-process",)
SERVER = ("padre-server",)
MANY_RUNS = Store("stores:many_runs", 100_000, budget=900)

WORKLOADS = (
    Workload("import", "import", "load", 1, 1, whole_process=True),
    Workload("start", "import, open a new store, create one run", "start", 1, 1, whole_process=True),
    Workload("create", "create and finish {size} runs", "writing:create", 500, 20, served=True),
    Workload("points", "log {size} points, one call each", "writing:points", 20_000, 2000),
    Workload(
        "points-beside",
        "log points beside one busy Python thread",
        "writing:points_beside",
        20_000,
        2000,
        subjects=("limit-process", "padre"),
    ),
    Workload("batches", "log {size} points in batches of 1,000", "writing:batches", 100_000, 10_000, served=True),
    Workload(
        "read",
        "open, read {size} points of one metric",
        "reading:read",
        100_000,
        10_000,
        "read_points",
        POINTS,
        served=True,
    ),
    Workload("list", "list {size} runs as objects", "reading:list_runs", 2000, 100, "list_runs", RUNS, served=True),
    Workload("search", "top 20 of a search in {size} runs", "reading:search", 2000, 100, "search", RUNS, served=True),
    Workload("get", "get one of {size} runs by id", "reading:get", 2000, 100, "get", RUNS, served=True),
    Workload("parallel", "4 processes, {size} runs each, 1,000 points a run", "parallel:four_writers", 50, 2),
    Workload("large-file", "one file of {size} MB", "files:large_file", 256, 8, "put_files", served=True),
    Workload("small-files", "{size} files of 4 KB", "files:small_files", 1000, 50, "put_files", served=True),
    Workload(
        "delete", "delete a quarter of {size} runs", "reading:delete", 2000, 100, "delete", RUNS, changes_store=True
    ),
    Workload("growth-small", "in {size} runs", "reading:growth", 1000, 100, "put_runs", MANY_RUNS, subjects=PROCESS),
    Workload("growth-large", "in {size} runs", "reading:growth", 100_000, 400, "put_runs", MANY_RUNS, subjects=PROCESS),
    Workload(
        "travel", "memory above rest while {size} MB travel", "files:travel", 1024, 8, "put_files", subjects=SERVER
    ),
    Workload(
        "shipped",
        "log {size} points, one call each, until a server has all",
        "syncing:shipped",
        2000,
        200,
        "read_points",
        subjects=("padre-remote", "mlflow-server"),
    ),
    Workload(
        "beside-shipping",
        "log points while a remote gets them",
        "syncing:beside_shipping",
        2_000_000,
        20_000,
        subjects=("padre", "padre-remote"),
    ),
    Workload(
        "exchange",
        "{size} runs with 200 points and 300 KB each, over loopback",
        "syncing:exchange",
        1000,
        20,
        "push",
        subjects=("padre-manual", "limit-loopback"),
    ),
    Workload("sync-small", "sync {size} runs", "syncing:sync", 1000, 20, "synchronise", subjects=("padre-manual",)),
    Workload("sync-large", "sync {size} runs", "syncing:sync", 10_000, 40, "synchronise", subjects=("padre-manual",)),
    Workload("footprint", "files on disk a finished run", "writing:footprint", 20, 5),
)

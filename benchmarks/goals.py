"""What PaDRe is to reach, against peers and against the machine, and whether it has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.subjects import SUBJECTS, Entry

# Values by (row, subject); a row is `workload/figure`.
Figures = Mapping[tuple[str, str], float]


def peer(entry: Entry) -> bool:
    """Any other tracker, in the process that uses it."""
    return entry.role == "peer" and not entry.served


def served_peer(entry: Entry) -> bool:
    """Any other tracker behind its server."""
    return entry.role == "peer" and entry.served


def surviving_peer(entry: Entry) -> bool:
    """Those that keep each acknowledged point at kill -9."""
    return peer(entry) and entry.survives_kill


def reading_peer(entry: Entry) -> bool:
    """Those that read from disk."""
    return peer(entry) and entry.reads_disk


def mlflow(entry: Entry) -> bool:
    """Both of its stores."""
    return peer(entry) and entry.distribution == "mlflow"


def served_mlflow(entry: Entry) -> bool:
    """Its server."""
    return served_peer(entry) and entry.distribution == "mlflow"


@dataclass(frozen=True)
class Reached:
    """What came of a goal.

    Attributes:
        text: The ratio or figure, with the rival's name.
        met: None when one side was not measured.
    """

    text: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """One word."""
        return {None: "not measured", True: "met", False: "missed"}[self.met]


NOT_MEASURED = Reached("", None)
SCALES = {"µs": 1e6, "ms": 1e3, "s": 1, "MiB": 2**-20, "": 1}


@dataclass(frozen=True)
class Faster:
    """At least `factor` times as fast as the fastest of some rivals."""

    row: str
    factor: float
    rivals: Callable[[Entry], bool]
    among: str
    ours: str = "padre"

    @property
    def text(self) -> str:
        """The goal in words."""
        return f"{self.factor:g} × faster than {self.among}"

    def look(self, figures: Figures) -> Reached:
        """Compare."""
        ours = figures.get((self.row, self.ours))
        times = {entry.name: figures.get((self.row, entry.name)) for entry in SUBJECTS if self.rivals(entry)}
        known = {name: time for name, time in times.items() if time is not None}
        if ours is None or not known:
            return NOT_MEASURED
        best = min(known, key=known.__getitem__)
        ratio = known[best] / ours
        return Reached(f"{ratio:.3g} × ({best})", ratio >= self.factor)


@dataclass(frozen=True)
class Within:
    """At most `factor` times another figure."""

    row: str
    factor: float
    other: str
    what: str
    ours: str = "padre"
    other_row: str | None = None

    @property
    def text(self) -> str:
        """The goal in words."""
        return f"at most {self.factor:g} × {self.what}"

    def look(self, figures: Figures) -> Reached:
        """Compare."""
        ours, other = figures.get((self.row, self.ours)), figures.get((self.other_row or self.row, self.other))
        if ours is None or other is None:
            return NOT_MEASURED
        return Reached(f"{ours / other:.3g} ×", ours / other <= self.factor)


@dataclass(frozen=True)
class AtMost:
    """At most a number of seconds, or of things."""

    row: str
    bound: float
    words: str
    unit: Literal["µs", "ms", "s", "MiB", ""]
    ours: str = "padre"

    @property
    def text(self) -> str:
        """The goal in words."""
        return f"at most {self.words}"

    def look(self, figures: Figures) -> Reached:
        """Compare."""
        ours = figures.get((self.row, self.ours))
        if ours is None:
            return NOT_MEASURED
        return Reached(f"{ours * SCALES[self.unit]:.3g} {self.unit}".strip(), ours <= self.bound)


Goal = Faster | Within | AtMost

PROCESS = "padre-process"
SERVER = "padre-server"
GROWN = "growth-large/"
SMALL = "growth-small/"

GOALS: tuple[Goal, ...] = (
    Faster("import/all", 3, peer, "the best peer"),
    Faster("import/all", 20, mlflow, "mlflow"),
    Faster("start/all", 3, peer, "the best peer"),
    Faster("start/all", 20, mlflow, "mlflow"),
    Faster("create/acknowledged", 5, peer, "the best peer, with power"),
    Faster("create/acknowledged", 20, peer, "the best peer, with process", PROCESS),
    Faster("create/closed", 3, peer, "the best peer, with power"),
    Faster("create/closed", 12, peer, "the best peer, with process", PROCESS),
    Within("create/closed", 3, "limit-power", "mkdir, create, write and sync"),
    Within("create/closed", 3, "limit-process", "mkdir, create and write, with process", PROCESS),
    Faster("points/all", 2, peer, "the fastest peer of any kind"),
    Faster("points/all", 30, surviving_peer, "the fastest peer that survives kill -9"),
    Within("points/all", 3, "limit-power", "one write a point"),
    AtMost("points-beside/call", 10e-6, "10 µs a call", "µs"),
    Faster("batches/all", 15, peer, "the best peer"),
    Within("batches/all", 5, "limit-power", "writing the raw bytes"),
    Faster("read/all", 20, peer, "the best peer, with numpy"),
    Faster("read/all", 8, peer, "the best peer, without numpy", "padre-bare"),
    Faster("list/first", 3, peer, "the best peer of any kind"),
    Faster("list/first", 20, reading_peer, "the best peer that reads from disk"),
    Faster("search/p50", 2, peer, "the best peer"),
    Faster("get/p50", 20, reading_peer, "the best peer that reads from disk"),
    Faster("parallel/all", 2, peer, "the best peer"),
    Faster("parallel/all", 5, mlflow, "mlflow"),
    Within("large-file/put and fetch", 1.5, "limit-power", "copying with sha-256"),
    Faster("small-files/put", 1, peer, "the best peer"),
    Faster("small-files/fetch", 1, peer, "the best peer"),
    Faster("delete/all", 10, peer, "the best peer"),
    *(
        Within(GROWN + figure, 2, PROCESS, "its time in the small store", PROCESS, SMALL + figure)
        for figure in ("get", "page", "search")
    ),
    AtMost(GROWN + "any search", 0.150, "150 ms", "ms", PROCESS),
    AtMost("footprint/files", 4, "4 files", ""),
    *(
        Faster(row, factor, served_peer, "the best peer's server", SERVER)
        for row, factor in (
            ("get/p50", 15),
            ("get/p99", 15),
            ("create/acknowledged", 15),
            ("batches/all", 10),
            ("read/all", 10),
            ("search/p50", 5),
            ("list/first", 10),
            ("large-file/put and fetch", 1),
            ("small-files/put and fetch", 5),
        )
    ),
    Faster("batches/all", 100, served_mlflow, "mlflow's server", SERVER),
    Faster("shipped/all", 20, served_mlflow, "mlflow's server", "padre-remote"),
    Within("beside-shipping/call", 1.5, "padre", "the same without a remote", "padre-remote"),
    Within("exchange/both", 2, "limit-loopback", "copying the same files over loopback", "padre-manual"),
    AtMost("sync-large/nothing", 1, "1 s", "s", "padre-manual"),
    AtMost("sync-large/one run", 1, "1 s", "s", "padre-manual"),
    Within(
        "sync-large/one run", 2, "padre-manual", "its time in the small store", "padre-manual", "sync-small/one run"
    ),
    *(AtMost(f"travel/{side}", 150 * 2**20, "150 MiB", "MiB", SERVER) for side in ("client", "server")),
)

"""The subjects, and what must be said of each in a report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["padre", "peer", "limit"]


@dataclass(frozen=True)
class Entry:
    """One column of the report.

    Attributes:
        name: Its name on the command line; `--subjects` also takes what is before a dash.
        target: Its adapter, as `module:class` in `benchmarks.subjects`.
        venv: Its environment, made from `requirements/<venv>.txt`.
        distribution: Whose version the report shows.
        durability: What a finished call has survived, in words.
        survives_kill: No acknowledged point is lost when the process is killed.
        reads_disk: Runs are read from disk at each call, rather than from memory.
        served: The store is behind a server on loopback.
        named: It does only what names it.
        environment: Variables that it needs; `{folder}` stands for the store.
    """

    name: str
    role: Role
    target: str
    venv: str
    distribution: str
    durability: str
    survives_kill: bool = False
    reads_disk: bool = True
    served: bool = False
    named: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


MLFLOW = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true", "GIT_PYTHON_REFRESH": "quiet"}
TRACKIO = {"TRACKIO_DIR": "{folder}", "HF_HUB_OFFLINE": "1"}

SUBJECTS = (
    Entry(
        "padre",
        "padre",
        "padre:Padre",
        "padre",
        "padre-core",
        "finished runs survive power loss, every acknowledged point kill -9",
        survives_kill=True,
    ),
    Entry(
        "padre-process",
        "padre",
        "padre:ProcessPadre",
        "padre",
        "padre-core",
        "everything acknowledged survives kill -9, nothing is synced",
        survives_kill=True,
    ),
    Entry(
        "padre-bare",
        "padre",
        "padre:BarePadre",
        "padre-bare",
        "padre-core",
        "as padre; numpy is not installed",
        survives_kill=True,
    ),
    Entry(
        "mlflow-sqlite",
        "peer",
        "mlflow:MlflowSqlite",
        "mlflow",
        "mlflow",
        "each call is committed and synced (SQLite FULL): survives power loss",
        survives_kill=True,
        environment=MLFLOW,
    ),
    Entry(
        "mlflow-file",
        "peer",
        "mlflow:MlflowFile",
        "mlflow",
        "mlflow",
        "each call is in the page cache: survives kill -9, never synced",
        survives_kill=True,
        environment=MLFLOW,
    ),
    Entry(
        "aim",
        "peer",
        "aim:Aim",
        "aim",
        "aim",
        "each call is in RocksDB's log, synced now and then: survives kill -9",
        survives_kill=True,
    ),
    Entry(
        "trackio",
        "peer",
        "trackio:Trackio",
        "trackio",
        "trackio",
        "queued in memory for up to 0.5 s: lost at kill -9; then SQLite WAL, NORMAL",
        environment=TRACKIO,
    ),
    Entry(
        "sacred",
        "peer",
        "sacred:Sacred",
        "sacred",
        "sacred",
        "in memory for up to 10 s: lost at kill -9; never synced",
        reads_disk=False,
    ),
    Entry(
        "optuna-journal",
        "peer",
        "optuna:OptunaJournal",
        "optuna",
        "optuna",
        "each call is synced: survives power loss; reads come from memory",
        survives_kill=True,
        reads_disk=False,
    ),
    Entry(
        "tensorboardx",
        "peer",
        "tensorboardx:TensorboardX",
        "tensorboardx",
        "tensorboardX",
        "queued in memory: the last points are lost at kill -9; not synced while logging",
        reads_disk=False,
    ),
    Entry(
        "padre-server",
        "padre",
        "padre_server:ServedPadre",
        "padre-server",
        "padre-server",
        "finished runs and batches survive power loss of the server",
        survives_kill=True,
        served=True,
    ),
    Entry(
        "padre-remote",
        "padre",
        "padre_remote:LocalFirstPadre",
        "padre-server",
        "padre-core",
        "as padre; the server has the same a little later, and at the latest when the store is closed",
        survives_kill=True,
        named=True,
    ),
    Entry(
        "padre-manual",
        "padre",
        "padre_remote:ManualPadre",
        "padre-server",
        "padre-core",
        "as padre; the server gets what is pushed",
        survives_kill=True,
        named=True,
    ),
    Entry(
        "mlflow-server",
        "peer",
        "mlflow_server:ServedMlflow",
        "mlflow",
        "mlflow",
        "each call is committed and synced by the server (SQLite FULL)",
        survives_kill=True,
        served=True,
        environment=MLFLOW,
    ),
    Entry(
        "trackio-server",
        "peer",
        "trackio_server:ServedTrackio",
        "trackio",
        "trackio",
        "queued in memory, sent twice a second, queued again by the server",
        served=True,
        environment=TRACKIO,
    ),
    Entry(
        "limit-process",
        "limit",
        "limit:Limit",
        "limit",
        "",
        "plain system calls, in the page cache",
        survives_kill=True,
    ),
    Entry(
        "limit-loopback",
        "limit",
        "copying:Copy",
        "limit",
        "",
        "plain files through a socket, one fdatasync for each on the other side",
        survives_kill=True,
        named=True,
    ),
    Entry(
        "limit-power",
        "limit",
        "limit:SyncedLimit",
        "limit",
        "",
        "plain system calls, one fdatasync for each run and file",
        survives_kill=True,
    ),
)


def select(names: str | None) -> tuple[Entry, ...]:
    """The subjects of a comma-separated list, all without one.

    Raises:
        SystemExit: A name fits none.
    """
    if names is None:
        return SUBJECTS
    wanted = names.split(",")
    for name in wanted:
        if not any(fits(entry, name) for entry in SUBJECTS):
            raise SystemExit(f"no subject {name!r}; there are {', '.join(entry.name for entry in SUBJECTS)}")
    return tuple(entry for entry in SUBJECTS if any(fits(entry, name) for name in wanted))


def fits(entry: Entry, name: str) -> bool:
    """Whether a name of the command line means this subject."""
    return entry.name == name or entry.name.startswith(f"{name}-")

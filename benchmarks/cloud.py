"""Artifacts to and from S3, by padre-cloud and by mlflow's artifact repository, side by side on one emulator.

    python -m benchmarks.cloud --files 1000 --large-mb 1024 --into docs/benchmarks.md

Needs `padre-cloud[s3]` and ministack beside this Python; mlflow gets an environment of its own. Each round is a process
for each side, which puts its files to a fresh place and gets them back; imports and opening are not counted. The least
of the rounds that fit into `--minutes` counts, of one at least. Before, both sides move a tenth of the files and some
MiB: what would take longer than its part of the time is made smaller for both, and its row, scaled up, begins with ~.

An emulator is one process of Python, and its own time is in all times. So the processor time of the client is told too.
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.goals import Reached
from benchmarks.venvs import Venvs

BEGIN, END = "<!-- cloud: begin -->", "<!-- cloud: end -->"
MIB = 1024 * 1024
ABOVE_REST = 150
"""MiB of memory that a transfer may take."""

PROBE_MIB = 32

MEASURE = """
import json, resource, sys, time
url, source, target = sys.argv[1:]
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def measured(put, get):
    rest, marks = peak(), [(time.perf_counter(), time.process_time())]
    for work in (put, get):
        work()
        marks.append((time.perf_counter(), time.process_time()))
    spent = [[b - a for a, b in zip(*pair)] for pair in zip(marks, marks[1:])]
    print(json.dumps([*spent, peak() - rest]))
"""
PADRE = f"""{MEASURE}
import padre_core as padre, padre_cloud.drivers.s3
with padre.open(f"s3://{{url}}") as ws, ws.start_run() as run:
    measured(lambda: run.log_artifacts(source), lambda: ws.artifacts.download(run.id, to=target))
"""
MLFLOW = f"""{MEASURE}
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
repository = S3ArtifactRepository(f"s3://{{url}}")
repository.list_artifacts()
measured(lambda: repository.log_artifacts(source), lambda: repository.download_artifacts("", target))
"""


@dataclass
class Row:
    """What one side took for one way, in seconds; the least of all rounds.

    Attributes:
        scale: By how much the work was made smaller.
    """

    scale: float = 1.0
    wall: float = float("inf")
    cpu: float = float("inf")

    def take(self, wall: float, cpu: float) -> None:
        """Counts a round."""
        self.wall, self.cpu = min(self.wall, wall * self.scale), min(self.cpu, cpu * self.scale)

    def text(self) -> str:
        """As a cell."""
        return f"{'~' if self.scale > 1 else ''}{self.wall:.2f} s ({self.cpu:.2f} s cpu)"


@dataclass
class Work:
    """Files that both sides move.

    Attributes:
        factor: How many times as fast as mlflow PaDRe is to be.
    """

    name: str
    source: Path
    factor: float
    scale: float
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The rows of the table."""
        for way in ("put", "get"):
            ours, theirs = self.rows["padre", way], self.rows["mlflow", way]
            ratio, cpu = theirs.wall / ours.wall, theirs.cpu / ours.cpu
            yield f"| {way} {self.name} | {ours.text()} | {theirs.text()} | {ratio:.2f} × | {cpu:.2f} × |"

    def goals(self) -> Iterator[tuple[str, Reached]]:
        """What was to be reached, and what came of it."""
        for way in ("put", "get"):
            ratio = self.rows["mlflow", way].wall / self.rows["padre", way].wall
            what = f"{self.factor:g} × faster than mlflow" if self.factor > 1 else "not slower than mlflow"
            yield f"{way} {self.name} | {what}", Reached(f"{ratio:.2f} ×", ratio >= self.factor)
        most = self.memory["padre"]
        yield (
            f"both of {self.name} | under {ABOVE_REST} MiB above rest",
            Reached(f"{most:.0f} MiB", most < ABOVE_REST),
        )


class Bench:
    """Runs the sides in turn, on one server."""

    def __init__(self, place: Path, env: dict[str, str], mlflow: Path) -> None:
        self._place, self._env, self._number = place, env, 0
        self._sides = {"padre": (Path(sys.executable), PADRE), "mlflow": (mlflow, MLFLOW)}

    def round(self, work: Work) -> None:
        """Both sides, once."""
        for name, (python, code) in self._sides.items():
            self._number += 1
            target = self._place / f"back-{self._number}"
            target.mkdir()
            command = [str(python), "-c", code, f"bench/{name}-{self._number}", str(work.source), str(target)]
            said = subprocess.check_output(command, env=self._env, text=True, cwd=self._place)
            put, get, memory = json.loads(said.splitlines()[-1])
            if sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) != size_of(work.source):
                raise SystemExit(f"{name} did not give back what it was given")
            shutil.rmtree(target)
            for way, spent in (("put", put), ("get", get)):
                work.rows.setdefault((name, way), Row(work.scale)).take(*spent)
            work.memory[name] = max(memory, work.memory.get(name, 0.0))

    def seconds(self, work: Work) -> float:
        """How long a round of some work takes."""
        begun = time.monotonic()
        self.round(work)
        return time.monotonic() - begun


def size_of(folder: Path) -> int:
    """How many bytes the files of a folder have."""
    return sum(file.stat().st_size for file in folder.iterdir())


def main() -> None:
    """Measures, and prints tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="how many artifacts of 4 KB")
    parser.add_argument("--large-mb", type=int, default=1024, help="size of the large one in MiB")
    parser.add_argument("--minutes", type=float, default=5, help="how long all of it may take, about")
    parser.add_argument("--cache", type=Path, default=Path(".benchmarks"), help="where environments are kept")
    parser.add_argument("--into", type=Path, help="a page to write the tables into, between its markers")
    asked = parser.parse_args()
    venvs = Venvs(asked.cache.absolute() / "venvs")
    venvs.make("mlflow-s3")
    with tempfile.TemporaryDirectory() as folder, emulator(Path(folder)) as env:
        bench = Bench(Path(folder), env, venvs.python("mlflow-s3"))
        works = measured(bench, Path(folder), asked.files, asked.large_mb, asked.minutes * 60)
    versions = f"mlflow {venvs.version('mlflow-s3', 'mlflow-skinny')}"
    text = report(works, versions)
    print(text)
    if asked.into:
        page = asked.into.read_text()
        before, rest = page.split(BEGIN)
        asked.into.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


def measured(bench: Bench, place: Path, files: int, large_mb: int, seconds: float) -> list[Work]:
    """Rounds of both works, as many as fit into the time."""
    end = time.monotonic() + seconds
    tenth = max(files // 10, 1)
    small_time = bench.seconds(Work("probe", make_files(place / "few", tenth, 4096), 1, 1)) / tenth
    large_time = bench.seconds(Work("probe", make_files(place / "some", 1, PROBE_MIB * MIB), 1, 1)) / PROBE_MIB
    budget = max(end - time.monotonic(), 1)
    count = min(files, max(int(budget * 0.35 / small_time), tenth))
    mib = min(large_mb, max(int(budget * 0.55 / large_time), PROBE_MIB))
    works = [
        Work(f"{files:,} artifacts of 4 KB", make_files(place / "small", count, 4096), 3, files / count),
        Work(f"one artifact of {large_mb} MiB", make_files(place / "large", 1, mib * MIB), 1, large_mb / mib),
    ]
    took = 0.0
    while time.monotonic() + took < end or not took:
        begun = time.monotonic()
        for work in works:
            bench.round(work)
        took = time.monotonic() - begun
    return works


def report(works: list[Work], versions: str) -> str:
    """The tables."""
    lines = [
        f"PaDRe and {versions}, on one emulator on loopback. Seconds, the least of some rounds; ~: scaled up.",
        "",
        "| work | padre | mlflow | mlflow / padre | of processor time |",
        "|---|---|---|---|---|",
        *(line for work in works for line in work.lines()),
        "",
        "| work | goal | reached | verdict |",
        "|---|---|---|---|",
        *(f"| {goal} | {reached.text} | {reached.verdict} |" for work in works for goal, reached in work.goals()),
    ]
    return "\n".join(lines)


def make_files(folder: Path, count: int, size: int) -> Path:
    """A folder of files of which no two are the same."""
    folder.mkdir()
    for number in range(count):
        with (folder / f"{number:05}.bin").open("wb") as file:
            for start in range(0, size, MIB):
                file.write(os.urandom(min(MIB, size - start)))
    return folder


@contextlib.contextmanager
def emulator(folder: Path) -> Iterator[dict[str, str]]:
    """An S3 server on loopback, and the environment in which it is found."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    env = os.environ | {
        "GATEWAY_PORT": str(port), "SERVICES": "s3", "PERSIST_STATE": "0",
        "AWS_ENDPOINT_URL": endpoint, "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "PADRE_CACHE": str(folder / "cache"), "PADRE_STATE": str(folder / "state"),
    }  # fmt: skip
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process would compile, among the work, what it imports late
    command = shutil.which("ministack", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "ministack"
    with (folder / "log").open("wb") as log, subprocess.Popen([command], env=env, stdout=log, stderr=log) as server:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=9)
                    connection.request("PUT", "/bench")
                    connection.getresponse().read()
                    break
                time.sleep(0.1)
            yield env
        finally:
            server.terminate()


if __name__ == "__main__":
    main()

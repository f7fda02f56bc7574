"""Measures padre-git beside git's other ways into a repository, beside padre-file, and over HTTP.

    python -m benchmarks.git_stores [--write-docs]

Sides that are compared take turns in one process; each figure is the least of some rounds, and processor time is told
beside the clock's, which other work on the machine disturbs. Needs `GitPython` and `zstandard` beside the packages of
this repository. `--write-docs` puts the table into docs/git.md.
"""

import argparse
import importlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import padre_core as padre
from benchmarks.report import machine, now, table
from padre_core.objects import canonical

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "git.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
GROUP = 64
RUN = json.dumps({"kind": "run", "content": {"parameters": {f"p{n}": n / 7 for n in range(8)}}}).encode() * 6


@dataclass
class Clock:
    """Seconds of the wall and of the processor."""

    wall: float = 0.0
    cpu: float = 0.0
    rounds: list[tuple[float, float]] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measures the block; the least of all blocks counts."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.rounds.append((time.perf_counter() - wall, time.process_time() - cpu))
        self.wall, self.cpu = (min(values) for values in zip(*self.rounds, strict=True))


@dataclass
class Table:
    """What was measured: work, goal, what was reached, and whether that is enough."""

    rows: list[list[str]] = field(default_factory=list)

    def add(self, work: str, goal: str, reached: str, *, met: bool | None) -> None:
        """Adds a row and prints it; `met` is None where there is no goal."""
        row = [work, goal, reached, {None: "", True: "met", False: "missed"}[met]]
        self.rows.append(row)
        print(f"{row[3]:7} {work}: {reached}{f' (goal: {goal})' if goal else ''}", flush=True)

    def ratio(self, work: str, clock: Clock, beside: Clock, count: int, limit: float | None) -> None:
        """A row for how many times longer something takes than something else."""
        ratio = clock.wall / beside.wall
        reached = f"{ratio:.2f} × ({clock.cpu / beside.cpu:.2f} × CPU), {clock.wall / count * 1e3:.3g} ms"
        goal = f"at most {limit:g} ×" if limit else ""
        self.add(work, goal, reached, met=ratio <= limit if limit else None)

    def seconds(self, work: str, clock: Clock, count: int, limit: float) -> None:
        """A row for how long something takes, each of some."""
        each = clock.wall / count
        reached = f"{each * 1e3:.3g} ms ({clock.cpu / count * 1e3:.3g} ms CPU)"
        self.add(work, f"at most {limit * 1e3:g} ms", reached, met=each <= limit)

    def write_into(self, page: Path) -> None:
        """Puts the table between the markers of a page."""
        before, rest = page.read_text().split(BEGIN)
        told = f"Taken on {now():%Y-%m-%d} on {machine()}, by `python -m benchmarks.git_stores`; git {git_version()}."
        shown = table(["work", "goal", "reached", "verdict"], self.rows)
        page.write_text(f"{before}{BEGIN}\n\n{told}\n\n{shown}\n\n{END}{rest.split(END)[1]}")


def git_version() -> str:
    """Which git it was."""
    return subprocess.check_output(["git", "version"], text=True).split()[2]


def create(folder: Path, size: int, told: Table) -> None:
    """Create and finish runs, against a commit each by GitPython's index and by bare pygit2.

    Bare pygit2 syncs nothing by itself. So there are two of it: one syncs, one does not.
    """
    from padre_git.refs import synced

    sides: tuple[tuple[str, dict[str, Any]], ...] = (
        ("each", {"linger": 0}),
        ("unsynced", {"linger": 0, "durability": "process"}),
        ("grouped", {"linger": 1000}),
        ("file", {}),
    )
    clocks = {name: Clock() for name in (*dict(sides), "pygit2", "synced pygit2", "gitpython")}
    for turn in range(3):
        place = folder / f"create-{turn}"
        place.mkdir()
        for name, options in sides:
            url = (place / name).as_uri()
            finish(url if name == "file" else f"git+{url}", size, clocks[name], options)
        with clocks["pygit2"].running():
            bare_pygit2(place / "bare.git", size)
        with clocks["synced pygit2"].running(), synced(power=True):
            bare_pygit2(place / "synced.git", size)
    with clocks["gitpython"].running():
        gitpython(folder / "index", size)
    work = f"create and finish {size} runs"
    slower = clocks["gitpython"].wall / clocks["each"].wall
    told.add(f"{work}, a commit each, to GitPython's index", "5 × faster", f"{slower:.3g} × faster", met=slower >= 5)
    told.ratio(
        f"{work}, a commit each, to a bare pygit2 commit, both synced", clocks["each"], clocks["synced pygit2"], size, 3
    )
    told.ratio("the same, nothing synced (`process`)", clocks["unsynced"], clocks["pygit2"], size, 3)
    told.ratio("the same, ours synced and pygit2's not", clocks["each"], clocks["pygit2"], size, None)
    slower = clocks["gitpython"].wall / clocks["grouped"].wall
    grouped = f"{work}, in group commits of {GROUP}"
    told.add(f"{grouped}, to GitPython's index", "5 × faster", f"{slower:.3g} × faster", met=slower >= 5)
    told.ratio(f"{grouped}, to a bare pygit2 commit each, not synced", clocks["grouped"], clocks["pygit2"], size, 3)
    told.seconds(f"{grouped}, a run", clocks["grouped"], size, 1e-3)
    told.ratio("the same to padre-file, which also fills its index", clocks["grouped"], clocks["file"], size, None)


def finish(url: str, size: int, clock: Clock, options: dict[str, Any]) -> None:
    """Creates and finishes runs, in groups where no commit is made for each."""
    with padre.open(url, **options) as workspace:
        workspace.start_run("a/b").finish()
    with clock.running(), padre.open(url, **options) as workspace:
        backend: Any = workspace.backend
        for number in range(1, size + 1):
            workspace.start_run("a/b", parameters={"C": number / 7}).finish()
            if options.get("linger") == 1000 and number % GROUP == 0:
                backend.fold()


def bare_pygit2(place: Path, size: int) -> None:
    """One file a commit, in a folder of its own as the layout has it."""
    import pygit2

    repo: Any = pygit2.init_repository(str(place), bare=True)
    signature = pygit2.Signature("a", "a@localhost")
    parents: list[Any] = []
    tree: Any = None
    for number in range(size):
        one, two, name = key_of(number).split("/")[1:4]
        builders = [repo.TreeBuilder() if tree is None else repo.TreeBuilder(tree)]
        for part in ("runs", one, two):
            above = builders[-1].get(part)
            builders.append(repo.TreeBuilder() if above is None else repo.TreeBuilder(above))
        run = repo.TreeBuilder()
        run.insert("run.json", repo.create_blob(RUN + b"%d" % number), 0o100644)
        made = run.write()
        for part, builder in zip((name, two, one, "runs"), reversed(builders), strict=True):
            builder.insert(part, made, 0o040000)
            made = builder.write()
        commit = repo.create_commit("refs/heads/padre", signature, signature, "run", made, parents)
        parents, tree = [commit], made


def gitpython(place: Path, size: int) -> None:
    """One file a commit, by the index, as tools in this field do it."""
    import git

    repo = git.Repo.init(place)
    actor = git.Actor("a", "a@localhost")
    for number in range(size):
        path = place / key_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(RUN + b"%d" % number)
        repo.index.add([str(path)])
        repo.index.commit("run", author=actor, committer=actor)


def key_of(number: int) -> str:
    """The key of a run, spread over the folders of the layout."""
    digest = canonical.digest(b"%d" % number)
    return f"runs/{digest[:2]}/{digest[2:4]}/{digest[:32]}/run.json"


def growth(folder: Path, sizes: list[int], told: Table) -> None:
    """A run's commit in small and in large stores."""
    from padre_git.branch import Change
    from padre_git.store import GitStore

    stores = []
    for size in sizes:
        store = GitStore(f"git+{(folder / f'growth-{size}.git').as_uri()}")
        branch = store.branch
        pack = branch.pack(power=False)
        blob = pack.add("blob", RUN)
        entries: dict[str, str | None] = {key_of(number): blob for number in range(size)}
        branch.commit(Change(pack, entries), "Fill", None)
        stores.append((size, store, Clock()))
    for turn in range(5):
        for size, store, clock in stores:
            with clock.running():
                for number in range(100):
                    key = key_of(size + 1000 * turn + number)
                    with store.batch("Finish run"):
                        store.write(key, RUN + b"%d" % number)
                        store.write(key.replace("run.json", "0-0.points"), RUN)
    for size, _, clock in stores[1:]:
        told.ratio(f"a run's commit at {size:,} runs, to {sizes[0]}", clock, stores[0][2], 100, 1.5)


def fill(url: str, size: int) -> None:
    """Runs with points, as many as that."""
    with padre.open(url, durability="process") as workspace:
        for number in range(size):
            with workspace.start_run("a/b", parameters={"C": number / 7, "model": f"m{number % 7}"}) as run:
                run.log_points("loss", [((number * 7919 + step * 104_729) % 99_991) / 99_991 for step in range(100)])


def reading(folder: Path, size: int, told: Table) -> None:
    """Get, list and search, against padre-file."""
    urls = {"git": f"git+{(folder / 'reading.git').as_uri()}", "file": (folder / "reading").as_uri()}
    with padre.open(urls["git"]) as git, padre.open(urls["file"]) as file:
        sides = {"git": git, "file": file}
        ids = {name: [str(run.id) for run in workspace.runs.list()] for name, workspace in sides.items()}

        def compare(title: str, count: int, act: Callable[[str, padre.Workspace], object]) -> None:
            clocks = {name: Clock() for name in sides}
            for _ in range(5):
                for name, workspace in sides.items():
                    with clocks[name].running():
                        act(name, workspace)
            told.ratio(f"{title} among {size:,} runs, to padre-file", clocks["git"], clocks["file"], count, 1.5)

        some = range(0, size, max(1, size // 1000))
        compare("get", len(some), lambda name, held: [held.runs.get(ids[name][place]) for place in some])
        compare("list all", 1, lambda name, held: list(held.runs.list()))
        where = "metrics.loss.last > 0.9 and parameters.model == 'm3'"
        compare("search", 1, lambda name, held: list(held.runs.list(where, order_by="-metrics.loss.last", limit=20)))


def exchange(folder: Path, size: int, told: Table, *, news: int = 100) -> None:
    """Push and fetch of some runs on top of many, by `git http-backend` behind a web server on loopback."""
    sys.path.append(str(ROOT / "plugins" / "padre-git" / "tests"))
    server: Any = importlib.import_module("git_server")
    served = folder / "served"
    subprocess.run(["git", "clone", "-q", "--bare", str(folder / "reading.git"), str(served / "lab.git")], check=True)
    subprocess.run(["git", "-C", str(served / "lab.git"), "config", "http.receivepack", "true"], check=True)
    with server.serving(served) as serving:
        url = f"{serving.url}/lab.git"
        with clone(url, folder / "one.git") as one, clone(url, folder / "other.git") as other:
            first = Clock()
            with first.running():
                other.runs.count()
            for number in range(news):
                with one.start_run("a/b", parameters={"C": number}) as run:
                    run.log_points("loss", [number / 7] * 100)
            push, fetch = Clock(), Clock()
            before = serving.bytes_in + serving.bytes_out
            with push.running():
                one.backend.publish()
            middle = serving.bytes_in + serving.bytes_out
            with fetch.running():
                other.backend.pull()
                count = other.runs.count()
            after = serving.bytes_in + serving.bytes_out
    if count != size + news:
        raise RuntimeError(f"{count} runs came, not {size + news}")
    work = f"{news} new runs on {size:,} over HTTP"
    for verb, clock, sent in (("push", push, middle - before), ("fetch", fetch, after - middle)):
        told.add(f"{verb} {work}", "under 3 s", f"{clock.wall:.2f} s, {sent / 1024:.0f} KiB", met=clock.wall < 3)
    told.add(f"the first query of a fresh clone of {size:,} runs", "", f"{first.wall:.2f} s", met=None)


def clone(url: str, place: Path) -> Any:
    """A workspace of a clone that pushes only when told to."""
    return padre.open(url, clone=place, linger=1000)


def sizes(folder: Path, size: int, told: Table) -> None:
    """The size after `maintain`, against one tar.zst."""
    repository = folder / "reading.git"
    before, clock = weight(repository), Clock()
    with clock.running(), padre.open(f"git+{repository.as_uri()}") as git:
        git.maintain()
    after, packed = weight(repository), archive(folder / "reading")
    ratio = after / packed
    reached = f"{ratio:.2f} × ({before / 2**20:.0f} MiB before, {after / 2**20:.1f} MiB after {clock.wall:.0f} s)"
    told.add(f"{size:,} runs with 100 points each, to one tar.zst", "at most 2 ×", reached, met=ratio <= 2)


def weight(folder: Path) -> int:
    """What the files of a folder take on disk."""
    return sum(os.lstat(Path(above) / name).st_blocks * 512 for above, _, names in os.walk(folder) for name in names)


def archive(folder: Path) -> int:
    """The size of the same content in one tar.zst: of records, points and lines, as a folder holds them."""
    import zstandard

    packed = io.BytesIO()
    compressor = zstandard.ZstdCompressor(level=3)
    with compressor.stream_writer(packed, closefd=False) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        tar.add(folder, arcname=".", filter=_content)
    return len(packed.getvalue())


def _content(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if item.name.startswith(("./log", "./snapshots")) else item


def main() -> None:
    """Measures all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--create", type=int, default=500, help="how many runs are created, each way")
    parser.add_argument("--growth", default="10,10000,100000", help="sizes of stores in which a run is committed")
    parser.add_argument("--reading", type=int, default=10_000, help="how many runs are read, pushed and packed")
    parser.add_argument("--only", choices=["create", "growth", "reading", "exchange", "size"], action="append")
    parser.add_argument("--folder", type=Path, help="where stores are made: the disk to measure")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/git.md")
    asked = parser.parse_args()
    parts = asked.only or ["create", "growth", "reading", "exchange", "size"]
    told = Table()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        os.environ["PADRE_CACHE"] = f"{name}/cache"
        folder = Path(name)
        if "create" in parts:
            create(folder, asked.create, told)
        if "growth" in parts:
            growth(folder, [int(size) for size in asked.growth.split(",")], told)
        if {"reading", "exchange", "size"} & {*parts}:
            for url in (f"git+{(folder / 'reading.git').as_uri()}", (folder / "reading").as_uri()):
                fill(url, asked.reading)
        if "reading" in parts:
            reading(folder, asked.reading, told)
        if "exchange" in parts:
            exchange(folder, asked.reading, told)
        if "size" in parts:
            sizes(folder, asked.reading, told)
    if asked.write_docs:
        told.write_into(PAGE)


if __name__ == "__main__":
    main()

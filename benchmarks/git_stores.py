"""Measures padre-git beside git's other ways into a repository, and beside padre-file.

`python -m benchmarks.git_stores` prints a table of ratios. Sides that are compared take turns in one process, each
figure is the least of some rounds, and processor time is told beside the clock's, which other work on the machine
disturbs. Needs `GitPython` and `zstandard` beside the packages of this repository.
"""

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import padre_core as padre
from padre_core.objects import canonical

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


def show(title: str, clock: Clock, count: int, beside: Clock | None = None) -> None:
    """One row: time for each, and the ratio to another row."""
    ratio = ""
    if beside is not None:
        ratio = f"{clock.cpu / beside.cpu:6.2f} x cpu, {clock.wall / beside.wall:6.2f} x"
    times_of = f"{clock.wall / count * 1e3:8.3f} ms {clock.cpu / count * 1e3:8.3f} ms cpu"
    print(f"{title:62} {times_of}  {ratio}", flush=True)


def create(folder: Path, size: int) -> None:
    """Create and finish runs, against a commit each by GitPython's index and by bare pygit2."""
    clocks = {name: Clock() for name in ("each", "grouped", "pygit2", "gitpython", "file")}
    for turn in range(3):
        place = folder / f"create-{turn}"
        place.mkdir()
        sides: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("each", f"git+{(place / 'each.git').as_uri()}", {"linger": 0}),
            ("grouped", f"git+{(place / 'grouped.git').as_uri()}", {}),
            ("file", (place / "file").as_uri(), {}),
        )
        for name, url, options in sides:
            with padre.open(url, **options) as workspace:
                workspace.start_run("a/b").finish()
            with clocks[name].running(), padre.open(url, **options) as workspace:
                for number in range(size):
                    workspace.start_run("a/b", parameters={"C": number / 7}).finish()
        with clocks["pygit2"].running():
            bare_pygit2(place / "bare.git", size)
        with clocks["gitpython"].running():
            gitpython(place / "index", size)
    show(f"{size} runs, a commit each (linger=0), to GitPython's index", clocks["each"], size, clocks["gitpython"])
    show("  the same, to a bare pygit2 commit", clocks["each"], size, clocks["pygit2"])
    show(f"{size} runs, in groups (default), to GitPython's index", clocks["grouped"], size, clocks["gitpython"])
    show("  the same, to a bare pygit2 commit", clocks["grouped"], size, clocks["pygit2"])
    show("  the same, to padre-file", clocks["grouped"], size, clocks["file"])
    show("GitPython's index, add and commit", clocks["gitpython"], size)
    show("bare pygit2, one blob, the trees above it and a commit", clocks["pygit2"], size)


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


def growth(folder: Path, sizes: list[int]) -> None:
    """A run's commit in small and in large stores."""
    from padre_git.objects import Change
    from padre_git.store import GitStore

    clocks: list[tuple[int, Clock]] = []
    for size in sizes:
        store = GitStore(f"git+{(folder / f'growth-{size}.git').as_uri()}")
        branch = store.branch
        blob = branch.add(RUN)
        for start in range(0, size, 10_000):
            entries: dict[str, str | None] = {key_of(n): blob for n in range(start, min(size, start + 10_000))}
            branch.commit(Change(branch.pack(power=False), entries), "Fill", None)
        clock = Clock()
        for turn in range(5):
            with clock.running():
                for number in range(100):
                    key = key_of(size + 1000 * turn + number)
                    with store.batch("Finish run"):
                        store.write(key, RUN + b"%d" % number)
                        store.write(key.replace("run.json", "0-0.points"), RUN)
        clocks.append((size, clock))
    for size, clock in clocks:
        show(f"a run's commit at {size} runs, to {sizes[0]}", clock, 100, clocks[0][1])


def fill(url: str, size: int) -> None:
    """Runs with points, as many as that."""
    with padre.open(url, durability="process") as workspace:
        for number in range(size):
            with workspace.start_run("a/b", parameters={"C": number / 7, "model": f"m{number % 7}"}) as run:
                run.log_points("loss", [((number * 7919 + step * 104_729) % 99_991) / 99_991 for step in range(100)])


def reading(folder: Path, size: int) -> None:
    """Get, list and search, against padre-file; then the size after `maintain`, against one tar.zst."""
    urls = {"git": f"git+{(folder / 'reading.git').as_uri()}", "file": (folder / "reading").as_uri()}
    for url in urls.values():
        fill(url, size)
    with padre.open(urls["git"]) as git, padre.open(urls["file"]) as file:
        sides = {"git": git, "file": file}
        ids = {name: [str(run.id) for run in workspace.runs.list()] for name, workspace in sides.items()}

        def compare(title: str, count: int, act: Callable[[str, padre.Workspace], object]) -> None:
            clocks = {name: Clock() for name in sides}
            for _ in range(7):
                for name, workspace in sides.items():
                    with clocks[name].running():
                        act(name, workspace)
            show(f"{title} among {size} runs, to padre-file", clocks["git"], count, clocks["file"])

        some = range(0, size, max(1, size // 1000))
        compare("get", len(some), lambda name, held: [held.runs.get(ids[name][place]) for place in some])
        compare("list all", 1, lambda name, held: list(held.runs.list()))
        where = "metrics.loss.last > 0.9 and parameters.model == 'm3'"
        compare("search", 1, lambda name, held: list(held.runs.list(where, order_by="-metrics.loss.last", limit=20)))
        before = weight(folder / "reading.git")
        clock = Clock()
        with clock.running():
            git.maintain()
        show("maintain", clock, 1)
    packed = archive(folder / "reading")
    after = weight(folder / "reading.git")
    print(f"size: {before} bytes, after maintain {after}, tar.zst {packed}: {after / packed:.2f} x")


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--create", type=int, default=500)
    parser.add_argument("--growth", default="10,10000,100000")
    parser.add_argument("--reading", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["PADRE_CACHE"] = f"{name}/cache"
        folder = Path(name)
        create(folder, arguments.create)
        growth(folder, [int(size) for size in arguments.growth.split(",")])
        reading(folder, arguments.reading)


if __name__ == "__main__":
    main()

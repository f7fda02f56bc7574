"""Processes that use a store until they are killed, forked from a warm one so that a round is cheap.

Reads jobs as lines of JSON; for each it forks, answers the child's process id, and when the child is dead its wait
status. A child writes to its report what it is about to do, and a line `done` when the call has returned.
"""

import io
import json
import os
import random
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import padre_core as padre
from padre_core.streams.columns import Stream


class Victim:
    """Does what scripts do, in a random order and without end."""

    def __init__(self, url: str, seed: int, report: int) -> None:
        self.random = random.Random(seed)
        self.url, self.name, self.report = url, f"v{seed}", report
        self.titles: dict[str, str | None] = {}
        self.run: padre.ActiveRun | None = None
        self.counts: dict[str, int] = {}
        self.ended: dict[str, str] = {}
        self.made = 0

    @contextmanager
    def act(self, act: str, **facts: object) -> Iterator[None]:
        os.write(self.report, json.dumps({"act": act, **facts}).encode() + b"\n")
        yield
        os.write(self.report, b"done\n")

    def work(self) -> None:
        acts = [self.put, self.delete, self.start, *[self.point] * 8, self.points, self.line, self.artifact, self.tag,
                self.finish, self.reopen, self.evict, self.evict_run]  # fmt: skip
        with self.act("open"):
            self.workspace = self.open()
        while True:
            self.random.choice(acts)()

    def open(self) -> padre.Workspace:
        options = {"linger": self.random.choice([0, 0.01, 1])} if self.url.startswith("git") else {}
        return padre.open(self.url, durability=self.random.choice(["process"] * 3 + ["power"]), **options)

    def reopen(self) -> None:
        self.finish()
        with self.act("close"):
            self.workspace.close()
        with self.act("open"):
            self.workspace = self.open()

    def put(self) -> None:
        name = f"{self.name}-{self.random.randrange(3)}"
        title = f"title {self.random.random()}"
        if name in self.titles and self.titles[name] is None:
            with self.act("restore", name=name):
                experiment = self.workspace.experiments.restore(f"crash/{name}")
            self.titles[name] = experiment.title
            return
        with self.act("put", name=name, title=title):
            self.workspace.experiments.put(padre.Experiment(name=name, project="crash", title=title))
        self.titles[name] = title

    def delete(self) -> None:
        for name, title in self.titles.items():
            if title is not None:
                with self.act("delete", name=name):
                    self.workspace.experiments.delete(f"crash/{name}")
                self.titles[name] = None
                return

    def start(self) -> None:
        self.finish()
        self.made += 1
        name = f"{self.name}-run-{self.made}"
        with self.act("start", run=name):
            self.run = self.workspace.start_run(f"crash/{self.name}-runs", name=name, parameters={"number": self.made})
        self.counts = {"points": 0, "lines": 0}

    def point(self) -> None:
        if self.run:
            with self.act("points", count=1):
                self.run.log_metric("loss", self.counts["points"] / 7)
            self.counts["points"] += 1

    def points(self) -> None:
        if self.run:
            count = self.random.choice([2, 50, 5000])
            first = self.counts["points"]
            with self.act("points", count=count):
                self.run.log_points("loss", [number / 7 for number in range(first, first + count)])
            self.counts["points"] += count

    def line(self) -> None:
        if self.run:
            with self.act("line"):
                self.run.log(f"line {self.counts['lines']}")
            self.counts["lines"] += 1

    def artifact(self) -> None:
        if self.run:
            path, size = f"file-{self.random.randrange(3)}", self.random.choice([0, 10, 200_000])
            with self.act("artifact", path=path, size=size):
                self.workspace.artifacts.upload(self.run.id, io.BytesIO(bytes(size)), path=path)

    def tag(self) -> None:
        if self.run:
            value = str(self.random.random())
            with self.act("tag", value=value):
                self.run.set_tags({"tag": value})

    def finish(self) -> None:
        if self.run:
            with self.act("finish"):
                self.run.finish()
            self.ended[f"{self.name}-run-{self.made}"] = self.run.id
            self.run = None

    def evict(self) -> None:
        for name, title in self.titles.items():
            if title is not None:
                found = self.workspace.experiments.get(f"crash/{name}")
                with self.act("evict", name=name):
                    self.workspace.backend.evict("experiment", str(found.id), if_match=str(found.etag))
                del self.titles[name]
                return

    def evict_run(self) -> None:
        if not self.ended:
            return
        backend = self.workspace.backend
        of, run = self.random.choice([*self.ended.items()])
        head = backend.get("run", run)
        streams: tuple[Stream, ...] = ("points", "lines")
        parts = [(stream, part) for stream in streams for part in backend.read_stream(run, stream)]
        for artifact in self.workspace.artifacts.list(within=run):
            with self.act("evict artifact", of=of, path=artifact.path):
                backend.evict("artifact", str(artifact.id), if_match=str(artifact.etag))
        with self.act("evict run", of=of):
            backend.evict("run", run, if_match=head.etag)
        if self.random.random() < 0.5:
            del self.ended[of]
        else:
            with self.act("put run again", of=of):
                backend.put(head)
            for stream, part in parts:
                with self.act("transfer", of=of, stream=stream, end=part.first + len(part.columns)):
                    backend.append_stream(run, part.writer, part.first, part.columns)


def look(url: str) -> None:
    """Opens the store, which folds what the dead left, and closes it."""
    while True:
        with padre.open(url) as workspace:
            workspace.runs.count()


def warm_up() -> None:
    """Imports and finds out all that is done once a process."""
    for scheme in ("file", "git+file"):
        with tempfile.TemporaryDirectory() as folder, padre.open(f"{scheme}://{folder}") as workspace:
            with workspace.start_run() as run:
                run.log_metric("loss", 1.0)
            workspace.runs.count("metrics.loss.last > 0")


def main() -> None:
    warm_up()
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            try:
                if job["seed"] is None:
                    look(job["url"])
                report = os.open(job["report"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                Victim(job["url"], job["seed"], report).work()
            except BaseException:  # the child must never go on as the process that forks
                traceback.print_exc()
                os._exit(1)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()

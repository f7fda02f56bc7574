"""A warm process that forks others, which edit both sides, sync and get killed.

Reads jobs as lines of JSON; for each it forks, answers the child's process id, and when the child is dead its wait
status. A child writes to its report what it was told to be stored.
"""

import io
import json
import os
import random
import sys
import traceback
from pathlib import Path

from padre_core.backends.backend import Backend
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import NotFoundError
from padre_core.objects import record as records
from padre_core.objects.artifact import Artifact
from padre_core.objects.identity import object_id, run_child_id
from padre_core.objects.project import Project
from padre_core.objects.run import Run
from padre_core.plugins import open_backend
from padre_core.streams.columns import make_points
from padre_core.sync import CursorFile, Engine, RemoteStore

AT = "2026-11-23T12:00:00.000000Z"
NAMES = ("here", "there", "both", "more")
RUN = "018f3a5e-0000-7000-8000-000000000000"


def opened(folder: Path) -> tuple[Backend, Backend, Engine]:
    """The local store of a folder, and its remote: a folder beside it, or the server that `server.json` names."""
    local = open_backend(str(folder / "local"), durability="process")
    server = folder / "server.json"
    if server.exists():
        said = json.loads(server.read_text())
        remote = open_backend(said["url"], token=said["token"])
    else:
        remote = open_backend(str(folder / "remote"), durability="process")
    stores = [RemoteStore("lab", "test://lab", lambda: remote)]
    return local, remote, Engine(local, stores, cursors=CursorFile(folder / "cursors.json"), threads=2)


def set_field(side: Backend, name: str, field: str, value: int) -> None:
    """Sets a field of a project, whatever else somebody does to it."""
    id = object_id("project", None, name)
    try:
        head = side.get("project", id)
    except NotFoundError:
        made = Project(name=name, **{field: str(value)})
        side.put(records.first("project", id, made.content(), (), by=field, at=AT), if_match=ABSENT)
        return
    content = Project(**{**head.data(), field: str(value)}).content()
    side.put(records.successor(head, content, by=field, at=AT), if_match=head.etag)


class Victim:
    """Edits both sides and syncs, in a random order and without end."""

    def __init__(self, folder: Path, seed: int, report: int) -> None:
        self.random = random.Random(seed)
        self.local, self.remote, self.engine = opened(folder)
        self.report, self.number = report, seed * 1000
        self.writer, self.points = f"{seed:016x}", 0

    def work(self) -> None:
        acts = [self.edit_here, self.edit_here, self.edit_there, self.log, self.upload, self.sync, self.sync, self.pull]
        while True:
            self.random.choice(acts)()

    def acknowledged(self, *fact: object) -> None:
        os.write(self.report, json.dumps(fact).encode() + b"\n")

    def edit_here(self) -> None:
        self._edit(self.local, "title", ("here", "both", "more"))

    def edit_there(self) -> None:
        self._edit(self.remote, "description", ("there", "both"))

    def _edit(self, side: Backend, field: str, names: tuple[str, ...]) -> None:
        name = self.random.choice(names)
        self.number += 1
        set_field(side, name, field, self.number)
        self.acknowledged("field", name, field, self.number)

    def log(self) -> None:
        self._run()
        points = make_points("loss", [0.5] * 20, None, None, self.points)
        self.points = self.local.append_stream(RUN, self.writer, self.points, points)
        self.acknowledged("points", self.writer, self.points)

    def upload(self) -> None:
        self._run()
        self.number += 1
        blob = self.local.write_blob(io.BytesIO(str(self.number).encode() * 20_000))
        made = Artifact(owner=RUN, path=str(self.number), digest=blob.digest, size=blob.size)
        id = run_child_id(RUN, "artifact", str(self.number))
        self.local.put(records.first("artifact", id, made.content(), (RUN,), by="ada", at=AT), if_match=ABSENT)
        self.acknowledged("artifact", id, blob.digest)

    def _run(self) -> None:
        made = Run(execution="0" * 36)
        self.local.put(records.first("run", RUN, made.content(), (), by="ada", at=AT))

    def sync(self) -> None:
        self._done(self.engine.sync())

    def pull(self) -> None:
        self._done(self.engine.pull())

    def _done(self, report) -> None:
        if report.failed or report.away:
            raise AssertionError(report)


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            try:
                report = os.open(job["report"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                Victim(Path(job["folder"]), job["seed"], report).work()
            except BaseException:  # the child must never go on as the process that forks
                traceback.print_exc()
                os._exit(1)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()

"""Two clones and a bare repository: whatever each does alone, nothing is lost and both come to the same."""

import contextlib
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import padre_core as padre
from padre_core.backends.merge import knows
from padre_core.errors import AlreadyExistsError, ConflictError, NotFoundError
from padre_core.objects.kinds import kinds
from padre_core.query.model import Deleted, Query
from padre_core.workspace import Workspace
from padre_git.clone import CloneBackend

from .by_hand import bare, fsck

BUDGET = int(os.environ.get("PADRE_GIT_EXAMPLES", "12"))
NAMES = st.sampled_from(["svc", "tree"])
SIDES = st.sampled_from([0, 1])
FIELDS = st.sampled_from(["description", "tags", "metadata"])


def records(backend):
    found = {}
    for model in kinds():
        cursor = None
        while True:
            page = backend.query(model.kind, Query(deleted=Deleted.INCLUDE, cursor=cursor))
            found.update({(record.kind, record.id): record for record in page.records})
            cursor = page.cursor
            if cursor is None:
                break
    return found


def shown(record):
    return record.etag, record.deleted is None, record.content, tuple(lost.etag for lost in record.conflicts)


class Offline(RuleBasedStateMachine):
    @initialize(first=SIDES)
    def begin(self, first):
        self.folder = Path(tempfile.mkdtemp(prefix="padre-git-"))
        self.bare = bare(self.folder / "lab.git")
        self.clones = [None, None]
        self.acknowledged = {}
        self.points = {}
        self.number = itertools.count()
        for side in (first, 1 - first):
            self.open(side)

    def open(self, side):
        backend = CloneBackend(
            f"git+{self.bare.as_uri()}", clone=self.folder / f"clone{side}.git", durability="process"
        )
        self.clones[side] = Workspace(backend)

    def acknowledge(self, object):
        self.acknowledged.setdefault((object.kind, object.id), set()).add(object.etag)

    def experiment(self, side, name):
        try:
            return self.clones[side].experiments.get(f"iris/{name}")
        except NotFoundError:
            return None

    @rule(side=SIDES, name=NAMES, field=FIELDS)
    def edit(self, side, name, field):
        experiments = self.clones[side].experiments
        found = self.experiment(side, name) or padre.Experiment(name=name, project="iris")
        value = f"v{next(self.number)}"
        if field == "description":
            found.description = value
        else:
            setattr(found, field, {**getattr(found, field), f"k{side}": value})
        self.acknowledge(experiments.put(found))

    @rule(side=SIDES, name=NAMES)
    def delete(self, side, name):
        found = self.experiment(side, name)
        if found is not None:
            self.clones[side].experiments.delete(found)

    @rule(side=SIDES)
    def delete_the_project(self, side):
        projects = self.clones[side].projects
        if projects.has("iris") and not projects.get("iris").conflicts:
            projects.delete("iris")

    @rule(side=SIDES, name=NAMES)
    def restore(self, side, name):
        with contextlib.suppress(NotFoundError, ConflictError, AlreadyExistsError, padre.InvalidObjectError):
            self.acknowledge(self.clones[side].experiments.restore(f"iris/{name}"))

    @rule(side=SIDES, name=NAMES, count=st.integers(1, 5))
    def train(self, side, name, count):
        with self.clones[side].start_run(f"iris/{name}", tags={"side": str(side)}) as run:
            self.log(run, count)
        self.acknowledge(self.clones[side].runs.get(run.id))

    @rule(side=SIDES, data=st.data(), count=st.integers(1, 3))
    def resume(self, side, data, count):
        runs = [run.id for run in self.clones[side].runs.list()]
        if runs:
            chosen = data.draw(st.sampled_from(sorted(runs)))
            with self.clones[side].start_run(resume=chosen) as run:
                self.log(run, count)
                run.log_parameters({f"p{next(self.number)}": side})
            self.acknowledge(self.clones[side].runs.get(chosen))

    def log(self, run, count):
        for _ in range(count):
            value = float(next(self.number))
            run.log_metric("loss", value)
            self.points.setdefault(run.id, set()).add(value)

    @rule(side=SIDES)
    def publish(self, side):
        self.clones[side].backend.publish()

    @rule(side=SIDES)
    def pull(self, side):
        self.clones[side].backend.pull()

    @rule(side=SIDES)
    def reopen(self, side):
        self.clones[side].close()
        self.open(side)

    @rule(side=SIDES)
    def die_and_open_another(self, side):
        """What was acknowledged and is only in the log of a process that ended without closing."""
        backend = self.clones[side].backend
        backend._ended = backend._closed = True
        backend._behind.end()
        backend.journal.close()
        self.open(side)

    def teardown(self):
        if not hasattr(self, "clones"):
            return
        try:
            for side in (0, 1, 0, 1):
                self.clones[side].backend.publish()
                self.clones[side].backend.pull()
            heads = [records(clone.backend) for clone in self.clones]
            assert {ref: shown(head) for ref, head in heads[0].items()} == {
                ref: shown(head) for ref, head in heads[1].items()
            }
            for clone in self.clones:
                for ref, etags in self.acknowledged.items():
                    head = clone.backend.get(*ref)
                    assert all(knows(head, etag) for etag in etags), (ref, etags, head)
                for run, values in self.points.items():
                    found = {v for part in clone.backend.read_stream(run, "points") for v in part.columns.values}
                    assert found == values
                    counts = [part.count for part in clone.backend.get("run", run).summaries]
                    assert sum(counts) == len(values)
                for (kind, id), head in records(clone.backend).items():
                    assert shown(clone.backend.get(kind, id)) == shown(head)
                assert [problem for problem in clone.verify() if problem.code not in ("orphan", "unused-blob")] == []
            fsck(self.bare)
        finally:
            for clone in self.clones:
                if clone is not None:
                    clone.close()
            shutil.rmtree(self.folder)


TestOffline = Offline.TestCase
TestOffline.settings = settings(
    max_examples=BUDGET, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)

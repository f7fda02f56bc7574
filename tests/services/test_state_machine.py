"""Services against a model in plain dicts: whatever the order of calls, both say the same."""

import itertools
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import padre_core as padre

BUDGET = settings(
    max_examples=int(os.environ.get("PADRE_STATE_EXAMPLES", "25")),
    stateful_step_count=int(os.environ.get("PADRE_STATE_STEPS", "25")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

_stores = itertools.count()

NAMES = st.sampled_from(["a", "b", "ä"])
TITLES = st.sampled_from([None, "one", "two", ""])
TAGS = st.dictionaries(st.sampled_from(["x", "y/z"]), st.sampled_from(["", "1"]), max_size=2)


@dataclass
class Model:
    """One object as the services should show it."""

    kind: str
    name: str
    above: str | None
    title: str | None = None
    tags: dict = field(default_factory=dict)
    deleted: bool = False
    revisions: int = 1
    points: list = field(default_factory=list)


class Services(RuleBasedStateMachine):
    scheme = "memory"

    @initialize()
    def open_store(self):
        self.folder = tempfile.TemporaryDirectory()
        os.environ["PADRE_CACHE"] = str(Path(self.folder.name) / "cache")
        place = Path(self.folder.name) / "store"
        self.url = f"memory://machine-{next(_stores)}" if self.scheme == "memory" else place.as_uri()
        self.workspace = padre.open(self.url, durability="process")
        self.models = {}
        self.kept = {}
        self.code = self.workspace.codes.put(padre.Code(type="command"))

    def teardown(self):
        if hasattr(self, "workspace"):
            assert list(self.workspace.verify()) == []
            self.workspace.close()
            self.folder.cleanup()

    def service(self, id):
        return self.workspace.service(self.models[id].kind)

    def hidden(self, id):
        while id is not None:
            if self.models[id].deleted:
                return True
            id = self.models[id].above
        return False

    def living(self, kind, name, above):
        key = kind, name, above, False
        found = (id for id, model in self.models.items() if (model.kind, model.name, model.above, model.deleted) == key)
        return next(found, None)

    def pick(self, data, *kinds, deleted=False):
        ids = [
            id
            for id, model in self.models.items()
            if model.kind in kinds and model.deleted == deleted and self.hidden(id) == deleted
        ]
        return data.draw(st.sampled_from(sorted(ids))) if ids else None

    def expect(self, kind, name, above, title, tags):
        """What a put of an unread object comes to."""
        known = self.living(kind, name, above)
        if known is None:
            return None
        model = self.models[known]
        wanted = replace(model, title=title, tags=model.tags if tags is None else tags)
        if (wanted.title, wanted.tags) != (model.title, model.tags):
            self.models[known] = replace(wanted, revisions=model.revisions + 1)
        return known

    @rule(name=NAMES, title=TITLES, tags=st.none() | TAGS)
    def put_project(self, name, title, tags):
        known = self.expect("project", name, None, title, tags)
        given = {} if tags is None else {"tags": tags}
        self.stored(known, self.workspace.projects.put(padre.Project(name=name, title=title, **given)), None)

    @rule(name=NAMES, project=NAMES, title=TITLES)
    def put_experiment_by_name(self, name, project, title):
        above = self.living("project", project, None)
        known = self.expect("experiment", name, above, title, None) if above else None
        put = self.workspace.experiments.put(padre.Experiment(name=name, project=project, title=title))
        if above is None:
            placeholder = self.workspace.projects.get(put.project)
            assert (placeholder.name, placeholder.title, placeholder.etag[:2]) == (project, None, "1-")
            self.stored(None, placeholder, None)
        self.stored(known, put, put.project)

    @rule(data=st.data(), name=NAMES)
    def put_run(self, data, name):
        experiment = self.pick(data, "experiment")
        if experiment is None:
            return
        execution = self.workspace.executions.put(padre.Execution(experiment=experiment, code=self.code))
        self.models.setdefault(execution.id, Model("execution", None, experiment))
        self.stored(None, self.workspace.runs.put(padre.Run(execution=execution, name=name)), execution.id)

    def stored(self, known, object, above):
        if known is None:
            assert object.id not in self.models
            self.models[object.id] = Model(object.kind, object.name, above, object.title, dict(object.tags))
        else:
            assert object.id == known
        model = self.models[object.id]
        assert (object.title, object.tags) == (model.title, model.tags)
        assert int(object.etag.partition("-")[0]) == model.revisions

    @rule(data=st.data())
    def keep(self, data):
        """Reads an object and puts it later."""
        id = self.pick(data, "project", "experiment", "run")
        if id is not None:
            self.kept[id] = self.service(id).get(id), self.models[id]

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), title=TITLES, tags=TAGS)
    def put_kept(self, data, title, tags):
        id = data.draw(st.sampled_from(sorted(self.kept)))
        object, read = self.kept.pop(id)
        object.title, object.tags = title, tags
        model = self.models[id]
        same_change = replace(read, title=title, tags=tags, revisions=read.revisions + 1)
        if read.revisions != model.revisions and same_change != model:
            with pytest.raises(padre.ConflictError):
                self.service(id).put(object)
            return
        if (title, tags) != (model.title, model.tags):
            self.models[id] = replace(model, title=title, tags=tags, revisions=model.revisions + 1)
        self.service(id).put(object)

    @rule(data=st.data(), by_name=st.booleans())
    def delete(self, data, by_name):
        id = self.pick(data, "project", "experiment", "run")
        if id is None:
            return
        model = self.models[id]
        way = model.name if by_name and model.kind == "project" else id
        assert self.service(id).delete(way) == 1
        assert self.service(id).delete(id) == 0
        self.models[id] = replace(model, deleted=True, revisions=model.revisions + 1)

    @rule(data=st.data())
    def restore(self, data):
        id = self.pick(data, "project", "experiment", "run", deleted=True)
        if id is None:
            return
        model = self.models[id]
        blocked = model.kind != "run" and self.living(model.kind, model.name, model.above)
        if blocked or self.hidden_above(id):
            with pytest.raises(padre.ConflictError):
                self.service(id).restore(id)
            return
        restored = self.service(id).restore(id)
        self.models[id] = replace(model, deleted=False, revisions=model.revisions + 1)
        assert (restored.title, restored.tags) == (model.title, model.tags)

    def hidden_above(self, id):
        above = self.models[id].above
        return above is not None and self.hidden(above)

    @rule(data=st.data())
    def put_below_what_is_hidden(self, data):
        hidden = [id for id, model in self.models.items() if model.kind == "project" and self.hidden(id)]
        if hidden:
            project = data.draw(st.sampled_from(sorted(hidden)))
            with pytest.raises(padre.ConflictError):
                self.workspace.experiments.put(padre.Experiment(name="a", project=project))

    @rule(data=st.data())
    def move(self, data):
        run = self.pick(data, "run")
        execution = self.pick(data, "execution")
        if run is None or execution is None:
            return
        model = self.models[run]
        moved = self.workspace.runs.move(run, execution)
        if execution != model.above:
            self.models[run] = replace(model, above=execution, revisions=model.revisions + 1)
            assert moved.moved_from[-1] == model.above

    @rule(data=st.data(), values=st.lists(st.floats(allow_nan=False), min_size=1, max_size=5))
    def log(self, data, values):
        run = self.pick(data, "run")
        if run is not None:
            writer = self.workspace.runs.open_writer(run)
            for value in values:
                step = len(self.models[run].points)
                writer.point("loss", step, value, step)
                self.models[run].points.append(value)
            writer.close()

    @rule()
    def reopen(self):
        if self.scheme == "memory":
            return
        self.workspace.close()
        self.workspace = padre.open(self.url, durability="process")

    @invariant()
    def both_say_the_same(self):
        for kind in ("project", "experiment", "run"):
            service = self.workspace.service(kind)
            for deleted in (False, True):
                wanted = {id for id, model in self.models.items() if model.kind == kind and self.hidden(id) == deleted}
                found = {object.id: object for object in service.list(deleted=deleted)}
                assert found.keys() == wanted
                assert service.count(deleted=deleted) == len(wanted)
                for id, object in found.items():
                    self.agree(object, self.models[id])
        for id, model in self.models.items():
            if self.hidden(id):
                with pytest.raises(padre.NotFoundError):
                    self.service(id).get(id)
            else:
                self.agree(self.service(id).get(id), model)

    def agree(self, object, model):
        assert (object.name, object.title, object.tags) == (model.name, model.title, model.tags)
        assert int(object.etag.partition("-")[0]) == model.revisions
        if model.kind == "run" and not object.deleted:
            assert object.execution == model.above

    @invariant()
    def points_are_kept(self):
        for id, model in self.models.items():
            if model.kind == "run" and not self.hidden(id):
                assert list(self.workspace.runs.points(id, "loss").values) == model.points


class FileServices(Services):
    scheme = "file"


TestMemory = Services.TestCase
TestMemory.settings = BUDGET
TestFile = FileServices.TestCase
TestFile.settings = settings(BUDGET, max_examples=max(1, BUDGET.max_examples // 3))

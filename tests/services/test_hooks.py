import dataclasses
import logging

import pytest

import padre_core as padre
from padre_core.hookspecs import Action
from padre_core.objects import canonical
from padre_core.objects.identity import run_child_id


def opened(*extensions):
    return padre.open("memory://", extensions=extensions)


class Recorder:
    """Wraps what it is told to and notes what passes."""

    def __init__(self):
        self.seen = []

    @padre.hookimpl(wrapper=True)
    def padre_project_create(self, request):
        self.seen.append((request.action, request.ref.kind, request.actor, request.record.etag))
        result = yield
        self.seen.append(result.etag)
        return result

    @padre.hookimpl(wrapper=True)
    def padre_project_update(self, request):
        self.seen.append((request.action, request.if_match))
        return (yield)

    @padre.hookimpl(wrapper=True)
    def padre_project_delete(self, request):
        self.seen.append((request.action, request.record.deleted is not None))
        return (yield)


def test_extensions_stand_around_every_write():
    recorder = Recorder()
    with opened(recorder) as workspace:
        project = workspace.projects.put(padre.Project(name="iris"))
        etag = project.etag
        project.title = "new"
        workspace.projects.put(project)
        workspace.projects.delete(project)
    create, result, update, delete = recorder.seen
    assert create[:2] == (Action.CREATE, "project")
    assert create[3] == result == etag
    assert update == (Action.UPDATE, etag)
    assert delete == (Action.DELETE, True)


def test_a_wrapper_that_refuses_keeps_anything_from_being_stored():
    class Guard:
        @padre.hookimpl(wrapper=True)
        def padre_project_create(self, request):
            raise padre.AccessDeniedError("projects are made by the lab's head")
            yield

    with opened(Guard()) as workspace:
        with pytest.raises(padre.AccessDeniedError, match="head"):
            workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        assert workspace.projects.count() == workspace.experiments.count() == 0


def test_a_wrapper_redacts_what_is_read():
    class Redact:
        @padre.hookimpl(wrapper=True)
        def padre_project_get(self, request):
            record = yield
            content = canonical.to_json({**record.data(), "description": "***"})
            return dataclasses.replace(record, content=content)

    with opened(Redact()) as workspace:
        workspace.projects.put(padre.Project(name="iris", description="secret"))
        assert workspace.projects.get("iris").description == "***"


def test_a_cache_may_answer_a_get_early():
    class Cache:
        def __init__(self):
            self.records = {}

        @padre.hookimpl
        def padre_project_get(self, request):
            return self.records.get(request.ref.id)

    cache = Cache()
    with opened(cache) as workspace:
        project = workspace.projects.put(padre.Project(name="iris"))
        assert workspace.projects.get(project.id).title is None
        record = workspace.backend.get("project", project.id)
        cache.records[project.id] = dataclasses.replace(record, content=b'{"name":"iris","title":"cached"}')
        assert workspace.projects.get(project.id).title == "cached"


def test_an_answer_for_another_object_is_refused():
    class Confused:
        @padre.hookimpl(wrapper=True)
        def padre_project_get(self, request):
            record = yield
            return dataclasses.replace(record, id="00000000-0000-5000-8000-000000000000")

    with opened(Confused()) as workspace:
        workspace.projects.put(padre.Project(name="iris"))
        with pytest.raises(padre.PluginError, match="answered the get of"):
            workspace.projects.get("iris")


def test_an_answer_of_another_type_is_refused():
    class Wrong:
        @padre.hookimpl(wrapper=True)
        def padre_project_list(self, request):
            yield
            return []

    with opened(Wrong()) as workspace, pytest.raises(padre.PluginError, match="padre_project_list return list"):
        list(workspace.projects.list())


@pytest.mark.parametrize("action", ["create", "update", "delete"])
def test_a_write_that_is_answered_without_wrapping_is_refused_at_opening(action):
    class Swallow:
        pass

    setattr(Swallow, f"padre_run_{action}", padre.hookimpl(lambda self, request: request.record))
    with pytest.raises(padre.PluginError, match=f"Swallow-1 answers padre_run_{action}"):
        opened(Swallow())


def test_a_hook_that_there_is_not_is_refused_at_opening():
    class Typo:
        @padre.hookimpl
        def padre_runs_create(self, request):
            return None

    with pytest.raises(padre.PluginError, match="padre_runs_create"):
        opened(Typo())


def test_a_hook_with_a_wrong_argument_is_refused_at_opening():
    class Typo:
        @padre.hookimpl(wrapper=True)
        def padre_run_create(self, run):
            return (yield)

    with pytest.raises(padre.PluginError, match="Typo"):
        opened(Typo())


class AddTag:
    def __init__(self, key):
        self.key = key

    @padre.hookimpl
    def padre_prepare(self, request):
        data = request.record.data()
        seen = ",".join(sorted(data.get("tags", {})))
        data["tags"] = {**data.get("tags", {}), self.key: seen or "-"}
        return dataclasses.replace(request.record, content=canonical.to_json(canonical.plain(data)))


def test_what_is_written_can_be_prepared_before_the_hash_is_taken():
    with opened(AddTag("a")) as workspace:
        project = workspace.projects.put(padre.Project(name="iris"))
        assert project.tags == {"a": "-"}
        assert workspace.projects.get("iris").etag == project.etag
        again = workspace.projects.put(padre.Project(name="iris", title="x"))
        assert again.title == "x"


def test_each_extension_prepares_what_the_one_before_made():
    with opened(AddTag("a"), AddTag("b")) as workspace:
        tags = workspace.projects.put(padre.Project(name="iris")).tags
    assert tags in ({"a": "-", "b": "a"}, {"b": "-", "a": "b"})


def test_preparing_may_not_change_which_object_is_meant():
    class Rename:
        @padre.hookimpl
        def padre_prepare(self, request):
            return dataclasses.replace(request.record, content=b'{"name":"rose"}')

    with opened(Rename()) as workspace, pytest.raises(padre.PluginError, match="which project is meant"):
        workspace.projects.put(padre.Project(name="iris"))


def test_what_was_prepared_must_be_an_object_of_its_kind():
    class Break:
        @padre.hookimpl
        def padre_prepare(self, request):
            return dataclasses.replace(request.record, content=b'{"name":"iris","wrong":1}')

    with opened(Break()) as workspace:
        with pytest.raises(padre.InvalidObjectError, match="wrong"):
            workspace.projects.put(padre.Project(name="iris"))
        assert workspace.projects.count() == 0


class OnlyPublic:
    @padre.hookimpl
    def padre_scope(self, request):
        return 'tags.public == "yes"' if request.ref.kind in ("project", "run") else None


@pytest.fixture
def scoped():
    workspace = opened(OnlyPublic())
    for name, public in (("open", "yes"), ("closed", "no")):
        workspace.projects.put(padre.Project(name=name, tags={"public": public}))
    yield workspace
    workspace.close()


def test_a_scope_limits_lists_and_counts(scoped):
    assert [project.name for project in scoped.projects.list()] == ["open"]
    assert [project.name for project in scoped.projects.list("name != 'x'")] == ["open"]
    assert scoped.projects.count() == 1


def test_what_is_out_of_scope_looks_as_if_it_were_not_there(scoped):
    closed = scoped.backend.query("project", padre_query('name == "closed"')).records[0].id
    messages = []
    for id in (closed, "00000000-0000-5000-8000-000000000000"):
        with pytest.raises(padre.NotFoundError) as caught:
            scoped.projects.get(id)
        messages.append(str(caught.value).replace(id, ""))
    assert messages[0] == messages[1]
    assert scoped.projects.delete(closed) == 0
    with pytest.raises(padre.NotFoundError):
        scoped.projects.restore(closed)
    with pytest.raises(padre.NotFoundError):
        scoped.experiments.put(padre.Experiment(name="svc", project=closed))


def test_a_scope_looks_at_what_is_stored_not_at_what_is_shown():
    class WithoutTags:
        @padre.hookimpl(wrapper=True)
        def padre_project_get(self, request):
            record = yield
            return dataclasses.replace(record, content=b'{"name":"open"}')

    with opened(OnlyPublic(), WithoutTags()) as workspace:
        project = workspace.projects.put(padre.Project(name="open", tags={"public": "yes"}))
        assert workspace.projects.get(project.id).tags == {}


def test_metrics_out_of_scope_are_not_shown_by_their_points():
    class NoLoss:
        @padre.hookimpl
        def padre_scope(self, request):
            return 'name != "loss"' if request.ref.kind == "metric" else None

    with opened(NoLoss()) as workspace:
        code = workspace.codes.put(padre.Code(type="command"))
        experiment = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        execution = workspace.executions.put(padre.Execution(experiment=experiment, code=code))
        run = workspace.runs.put(padre.Run(execution=execution))
        writer = workspace.runs.open_writer(run)
        writer.point("loss", 0, 1.0, 0)
        writer.point("f1", 0, 1.0, 0)
        writer.close()
        assert [metric.name for metric in workspace.metrics.list()] == ["f1"]
        with pytest.raises(padre.NotFoundError):
            workspace.metrics.get(run_child_id(run.id, "metric", "loss", None, None))


def test_streams_and_files_of_a_run_out_of_scope_are_not_read(scoped):
    experiment = scoped.experiments.put(padre.Experiment(name="svc", project="open"))
    code = scoped.codes.put(padre.Code(type="command"))
    execution = scoped.executions.put(padre.Execution(experiment=experiment, code=code))
    run = scoped.runs.put(padre.Run(execution=execution))
    for read in (
        lambda: scoped.runs.points(run.id, "loss"),
        lambda: scoped.runs.lines(run.id),
        lambda: scoped.runs.open_writer(run.id),
        lambda: scoped.artifacts.upload(run.id, b"x", path="x"),
    ):
        with pytest.raises(padre.NotFoundError):
            read()


@pytest.mark.parametrize("limit", [5, b"name == 'x'", "name ==", "no_such_field == 1"])
def test_what_is_no_filter_hides_all_and_names_the_extension(limit):
    class Limiting:
        @padre.hookimpl
        def padre_scope(self, request):
            return limit

    with padre.open("memory://", extensions=[Limiting()]) as workspace:
        for read in (lambda: list(workspace.projects.list()), workspace.projects.count):
            with pytest.raises(padre.PluginError, match="the extension Limiting-1 "):
                read()


def test_what_is_no_record_is_not_stored_and_names_the_extension():
    class Preparing:
        @padre.hookimpl
        def padre_prepare(self, request):
            return request.record.data()

    with padre.open("memory://", extensions=[Preparing()]) as workspace:
        with pytest.raises(padre.PluginError, match="the extension Preparing-1 returns dict from padre_prepare"):
            workspace.projects.put(padre.Project(name="iris"))
        assert workspace.projects.count() == 0


def test_the_change_feed_leaves_out_what_may_not_be_read(scoped):
    entries = scoped.changes().entries
    assert [change.id for change in entries] == [project.id for project in scoped.projects.list()]
    assert scoped.changes(scoped.changes().cursor).entries == ()


def test_a_copy_leaves_out_what_may_not_be_read(scoped):
    scoped.experiments.put(padre.Experiment(name="svc", project="open"))
    with padre.open("memory://") as target:
        padre.copy(scoped, target)
        assert [project.name for project in target.projects.list()] == ["open"]
        assert [experiment.name for experiment in target.experiments.list()] == ["svc"]


def test_events_tell_what_happened():
    class Subscriber:
        events = []

        @padre.hookimpl
        def padre_object_changed(self, event):
            self.events.append((event.action, event.record.kind, event.record.etag[:2]))

    with opened(Subscriber()) as workspace:
        workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        workspace.experiments.delete("iris/svc")
        workspace.experiments.restore("iris/svc")
    assert Subscriber.events == [
        ("create", "project", "1-"),
        ("create", "experiment", "1-"),
        ("delete", "experiment", "2-"),
        ("restore", "experiment", "3-"),
    ]


def test_a_copy_tells_how_far_it_is():
    class Subscriber:
        phases = set()

        @padre.hookimpl
        def padre_progress(self, event):
            self.phases.add(event.phase)

    with opened(Subscriber()) as workspace, padre.open("memory://") as target:
        workspace.projects.put(padre.Project(name="iris"))
        padre.copy(workspace, target)
    assert Subscriber.phases == {"objects", "proof"}


def test_a_subscriber_that_fails_is_logged_by_name_and_starves_nobody(caplog):
    class Broken:
        @padre.hookimpl
        def padre_object_changed(self, event):
            raise RuntimeError("no network")

    class Fine:
        events = []

        @padre.hookimpl
        def padre_object_changed(self, event):
            self.events.append(event.action)

    with caplog.at_level(logging.ERROR), opened(Fine(), Broken(), Fine()) as workspace:
        workspace.projects.put(padre.Project(name="iris"))
    assert Fine.events == ["create", "create"]
    assert "Broken-2 failed in padre_object_changed" in caplog.text
    assert "no network" in caplog.text


def test_a_request_cannot_be_changed():
    class Meddler:
        @padre.hookimpl(wrapper=True)
        def padre_project_create(self, request):
            request.record = None
            return (yield)

    with opened(Meddler()) as workspace, pytest.raises(AttributeError):
        workspace.projects.put(padre.Project(name="iris"))


def padre_query(where):
    from padre_core import query

    return query.Query(where=query.parse(where))

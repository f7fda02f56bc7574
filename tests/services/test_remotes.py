import time

import pytest

import padre_core as padre
from padre_core import plugins


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr("padre_core.services.shipper.GATHER", 0.01)
    monkeypatch.setattr("padre_core.services.shipper.PAUSE", 0.05)
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def lab(tmp_path):
    url = (tmp_path / "lab").as_uri()
    padre.open(url).close()
    return url


@pytest.fixture
def here(tmp_path, lab):
    with padre.open(tmp_path / "here", remotes={"lab": lab}) as workspace:
        yield workspace


@pytest.fixture
def there(tmp_path, lab):
    with padre.open(tmp_path / "there", remotes={"lab": lab}) as workspace:
        yield workspace


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_put_to_a_remote_uploads_all_below_and_notes_the_url(here, lab):
    with here.start_run("iris/svc") as run:
        run.log_points("loss", [1.0, 0.5])
        run.log("done")
    experiment = here.experiments.put("iris/svc", remote="lab")
    assert experiment.remotes["lab"].url == f"{lab}#experiments/{experiment.id}"
    assert experiment.remotes["lab"].etag == experiment.etag
    with padre.open(lab, readonly=True) as remote:
        (found,) = remote.runs.list(within="iris/svc")
        assert list(remote.runs.points(found, "loss").values) == [1.0, 0.5]
        assert [line.text for line in remote.runs.lines(found)] == ["done"]


def test_a_sync_that_cannot_be_noted_is_done_all_the_same(lab, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "file"))
    with padre.open(tmp_path / "here", remotes={"lab": lab}) as workspace:
        workspace.projects.put(padre.Project(name="iris"), remote="lab")
        workspace.remotes.sync()
    with padre.open(lab, readonly=True) as remote:
        assert remote.projects.get("iris").name == "iris"


def test_a_name_that_was_deleted_on_a_remote_is_put_there_as_the_next_of_its_name(here, lab, tmp_path):
    with padre.open(lab) as remote:
        old = remote.experiments.put(padre.Experiment(name="svc", project="iris", description="old"))
        remote.projects.delete("iris")
    made = here.experiments.put(padre.Experiment(name="svc", project="iris", description="new"), remote="lab")
    assert made.id != old.id
    with padre.open(lab, readonly=True) as remote:
        assert remote.experiments.get("iris/svc").description == "new"
        assert [experiment.id for experiment in remote.experiments.list()] == [made.id]
    assert here.experiments.put(padre.Experiment(name="svc", project="iris", description="newer")).id == made.id


def test_what_is_put_travels_in_the_background(here, lab):
    here.experiments.put(padre.Experiment(name="svc", project="iris"))

    def arrived():
        with padre.open(lab, readonly=True) as remote:
            return remote.experiments.count() == 1

    until(arrived)


def test_points_of_a_running_run_travel_while_it_logs(here, lab):
    with here.start_run("iris/svc") as run:
        run.log_points("loss", [1.0, 0.5])

        def arrived():
            with padre.open(lab, readonly=True) as remote:
                return remote.runs.count() == 1 and len(remote.runs.points(run.id, "loss")) == 2

        until(arrived)


def test_what_still_waits_is_sent_when_the_workspace_is_closed(tmp_path, lab, monkeypatch):
    monkeypatch.setattr("padre_core.services.shipper.GATHER", 60)
    with padre.open(tmp_path / "here", remotes={"lab": lab}) as workspace:
        workspace.projects.put(padre.Project(name="iris"))
    with padre.open(lab, readonly=True) as remote:
        assert remote.projects.get("iris").name == "iris"


def test_get_downloads_what_only_the_remote_has_by_name_path_and_by_url(here, there):
    experiment = here.experiments.put(padre.Experiment(name="svc", project="iris", description="mine"))
    url = here.experiments.put(experiment, remote="lab").remotes["lab"].url
    assert there.experiments.get("iris/svc").description == "mine"
    assert there.experiments.get(url).id == experiment.id
    assert there.experiments.get("iris/svc", refresh="never").description == "mine"


def test_get_downloads_what_is_newer(here, there):
    experiment = here.experiments.put(padre.Experiment(name="svc", project="iris"))
    here.experiments.put(experiment, remote="lab")
    there.experiments.get("iris/svc")
    experiment.description = "better"
    here.experiments.put(experiment, remote="lab")
    assert there.experiments.get("iris/svc").description == "better"


def test_different_fields_that_two_changed_are_merged(here, there):
    experiment = here.experiments.put(padre.Experiment(name="svc", project="iris"))
    here.experiments.put(experiment, remote="lab")
    other = there.experiments.get("iris/svc")
    experiment.description, other.title = "mine", "theirs"
    here.experiments.put(experiment, remote="lab")
    there.experiments.put(other, remote="lab")
    both = here.experiments.get("iris/svc")
    assert (both.description, both.title, both.conflicts) == ("mine", "theirs", ())


def test_a_delete_on_the_remote_leaves_the_copy_here(here, lab):
    here.experiments.put(here.experiments.put(padre.Experiment(name="svc", project="iris")), remote="lab")
    assert here.experiments.delete("iris/svc", mode="remote") == 1
    kept = here.experiments.get("iris/svc")
    assert kept.remotes["lab"].intent == "local-only"
    with padre.open(lab, readonly=True) as remote, pytest.raises(padre.NotFoundError, match="deleted"):
        remote.experiments.get("iris/svc")


def test_a_local_delete_brings_it_back_at_the_next_get(here):
    here.experiments.put(here.experiments.put(padre.Experiment(name="svc", project="iris")), remote="lab")
    assert here.experiments.delete("iris/svc", mode="local") == 1
    assert here.experiments.count() == 0
    assert here.experiments.get("iris/svc").name == "svc"
    assert here.experiments.count() == 1


def test_a_delete_everywhere_passes_the_hooks_of_this_side_once(tmp_path, lab):
    seen = []

    class Watch:
        @padre.hookimpl(wrapper=True)
        def padre_experiment_delete(self, request):
            seen.append(request.ref.id)
            return (yield)

    with padre.open(tmp_path / "here", remotes={"lab": lab}, extensions=[Watch()]) as workspace:
        experiment = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        workspace.experiments.put(experiment, remote="lab")
        assert workspace.experiments.delete(experiment) == 1
        assert seen == [experiment.id]
    with padre.open(lab, readonly=True) as remote:
        assert remote.experiments.count() == 0


@pytest.fixture
def alone(tmp_path):
    """A workspace whose remote is away."""
    with padre.open(tmp_path / "here", remotes={"lab": "padre+http://127.0.0.1:9"}) as workspace:
        yield workspace


def test_a_put_to_a_remote_that_is_away_is_stored_here_and_says_so(alone):
    with pytest.raises(padre.UnavailableError, match="is stored here"):
        alone.experiments.put(padre.Experiment(name="svc", project="iris"), remote="lab")
    kept = alone.experiments.get("iris/svc")
    assert (kept.stale, kept.remotes["lab"].intent) == (True, "track")


def test_a_training_goes_on_while_its_remote_is_away(alone):
    with alone.start_run("iris/svc") as run:
        run.log_metric("loss", 0.5)
    assert alone.runs.get(run.id, refresh="never").status == "finished"


def test_a_required_refresh_is_an_error_while_the_remote_is_away(alone):
    alone.experiments.put(padre.Experiment(name="svc", project="iris"))
    with pytest.raises(padre.UnavailableError):
        alone.experiments.get("iris/svc", refresh="required")


def test_a_remote_that_nobody_named_is_refused_before_anything_is_stored(here):
    with pytest.raises(padre.InvalidObjectError, match="the remotes are: lab"):
        here.experiments.put(padre.Experiment(name="svc", project="iris"), remote="nas")
    assert here.experiments.count() == 0


def test_a_stale_delete_is_refused_while_the_remote_is_away(alone):
    stale = alone.experiments.put(padre.Experiment(name="svc", project="iris"))
    newer = alone.experiments.get("iris/svc", refresh="never")
    newer.description = "changed since"
    alone.experiments.put(newer)
    with pytest.raises(padre.ConflictError, match="changed since"):
        alone.experiments.delete(stale)
    assert alone.experiments.get("iris/svc", refresh="never").description == "changed since"


def test_what_the_scope_leaves_out_is_not_deleted_either(tmp_path, lab):
    class Narrow:
        on = False

        @padre.hookimpl
        def padre_scope(self, request):
            return 'tags.team == "mine"' if self.on else None

    narrow = Narrow()
    with padre.open(tmp_path / "here", remotes={"lab": lab}, extensions=[narrow]) as workspace:
        experiment = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        workspace.experiments.put(experiment, remote="lab")
        narrow.on = True
        for mode in ("all", "remote", "local"):
            assert workspace.experiments.delete(experiment.id, mode=mode) == 0
        narrow.on = False
        assert workspace.experiments.get(experiment.id).name == "svc"
    with padre.open(lab, readonly=True) as remote:
        assert remote.experiments.count() == 1


def test_a_delete_counts_only_what_it_deleted(here):
    experiment = here.experiments.put(padre.Experiment(name="svc", project="iris"))
    here.experiments.put(experiment, remote="lab")
    assert [here.experiments.delete(experiment.id) for _ in range(2)] == [1, 0]
    assert here.experiments.delete(experiment.id, mode="local") == 0


def uploaded(workspace, count):
    """The ids of some experiments that are here and on the remote."""
    project = workspace.projects.put(padre.Project(name="iris"))
    made = [workspace.experiments.put(padre.Experiment(name=f"e{n}", project="iris")) for n in range(count)]
    workspace.projects.put(project, remote="lab")
    return [experiment.id for experiment in made]


@pytest.fixture
def counting(monkeypatch):
    """Counts the calls that reach the store of a workspace's remote; nothing travels in the background."""
    monkeypatch.setattr("padre_core.services.shipper.Shipper.wake", lambda self: None)

    def start(workspace):
        remote, calls = workspace.records.remotes.engine.pair("lab").remote, []

        def counted(name):
            call = getattr(remote, name)
            return lambda *args, **named: (calls.append(name), call(*args, **named))[1]

        for name in ("get_many", "put_many", "pull", "publish"):
            monkeypatch.setattr(remote, name, counted(name))
        return calls

    return start


@pytest.mark.parametrize("mode", ["all", "remote"])
def test_a_delete_of_many_asks_the_remote_no_more_often_than_one_of_few(counting, here, lab, mode):
    ids = uploaded(here, 24)
    calls = counting(here)
    counts = []
    for some in (ids[:4], ids[4:]):
        calls.clear()
        assert here.experiments.delete(some, mode=mode) == len(some)
        counts.append(sorted(calls))
    assert counts[0] == counts[1]
    assert counts[0].count("publish") == 1
    with padre.open(lab, readonly=True) as remote:
        assert remote.experiments.count() == 0
    assert here.experiments.count() == (24 if mode == "remote" else 0)


def test_one_stale_object_of_many_keeps_all_of_them(here, lab):
    ids = uploaded(here, 3)
    stale = here.experiments.get(ids[2])
    here.experiments.put(stale.model_copy(update={"description": "changed"}))
    with pytest.raises(padre.ConflictError, match="changed since it was seen"):
        here.experiments.delete([ids[0], ids[1], stale])
    assert here.experiments.count() == 3
    with padre.open(lab, readonly=True) as remote:
        assert remote.experiments.count() == 3


def test_an_object_named_twice_is_deleted_and_counted_once(here):
    ids = uploaded(here, 2)
    assert here.experiments.delete([ids[0], "iris/e0", ids[1]]) == 2


class Locked:
    """A storage plugin that no longer knows who asks, or cannot be opened at all."""

    def __init__(self, error):
        self.error = error

    def __call__(self, *args, **options):
        raise self.error


@pytest.fixture(
    params=[
        padre.AuthenticationError("sign in with `padre login`"),
        padre.PluginNotFoundError("nothing serves foo://"),
    ],
    ids=["signed-out", "no-plugin"],
)
def beside(request, tmp_path, lab, monkeypatch):
    """A store with two remotes, the first of which cannot be used any more."""
    opening = plugins.open_backend
    locked = Locked(request.param)
    monkeypatch.setattr(
        plugins, "open_backend", lambda url, **options: locked() if "locked" in url else opening(url, **options)
    )
    urls = {"locked": (tmp_path / "locked").as_uri(), "lab": lab}
    with padre.open(tmp_path / "here", remotes=urls) as workspace:
        yield workspace


def test_a_remote_that_cannot_be_used_keeps_nothing_from_the_store_and_the_other_remotes(beside, lab, caplog):
    with beside.start_run("iris/svc") as run:
        run.log_metric("loss", 0.5)
    report = beside.remotes.sync()
    assert list(report.away) == ["locked"]
    assert not report.failed
    assert beside.experiments.get("iris/svc").name == "svc"
    with padre.open(lab, readonly=True) as remote:
        assert remote.runs.get(run.id).status == "finished"
    beside.runs.delete(run.id)
    assert beside.runs.count() == 0
    until(lambda: [record.message for record in caplog.records if "nothing is sent to locked" in record.message])


def test_what_is_put_to_a_remote_that_cannot_be_used_is_stored_here_and_says_so(beside):
    with pytest.raises((padre.UnavailableError, padre.AuthenticationError), match="is stored here, and travels when"):
        beside.projects.put(padre.Project(name="iris"), remote="locked")
    assert beside.projects.get("iris", refresh="never").name == "iris"


def test_a_get_that_must_ask_says_what_is_wrong_with_the_remote(beside):
    beside.projects.put(padre.Project(name="iris"))
    with pytest.raises((padre.UnavailableError, padre.AuthenticationError), match=r"padre login|nothing serves"):
        beside.remotes.get(("project", str(beside.projects.get("iris").id)), refresh="required", remotes=["locked"])


def test_what_is_not_here_while_a_remote_is_away_may_still_be_there(beside):
    for ask in (beside.projects.get, beside.service_of):
        with pytest.raises((padre.UnavailableError, padre.AuthenticationError)):
            ask("iris")


def test_the_url_of_an_object_that_is_here_needs_no_remote_that_answers(lab, tmp_path):
    with padre.open(tmp_path / "here", remotes={"lab": lab}) as online:
        url = online.projects.put(padre.Project(name="iris"), remote="lab").remotes["lab"].url
    (tmp_path / "lab").rename(tmp_path / "away")
    (tmp_path / "lab").write_text("no store")
    with padre.open(tmp_path / "here", remotes={"lab": lab}) as offline:
        found = offline.projects.get(url)
        assert (found.name, found.stale) == ("iris", True)
        assert offline.service_of(url).kind == "project"


def test_what_was_deleted_here_and_never_reached_a_remote_is_not_said_to_be_unknown(tmp_path, lab):
    with padre.open(tmp_path / "here") as alone:
        project = alone.projects.put(padre.Project(name="iris"))
        alone.projects.delete("iris")
    with padre.open(tmp_path / "here", remotes={"lab": lab}) as workspace:
        for name in ("iris", project.id):
            with pytest.raises(padre.NotFoundError, match="was deleted; restore brings it back"):
                workspace.projects.get(name)
        with pytest.raises(padre.NotFoundError, match="neither this store nor a remote"):
            workspace.projects.get("0" * 8 + project.id[8:])

"""Old versions: read, compared, restored."""

import dataclasses

import pytest

import padre_core as padre
from padre_core.errors import InvalidObjectError, NotFoundError, UnsupportedError
from padre_core.objects import canonical
from padre_core.workspace import Workspace
from padre_git.clone import CloneBackend

from .by_hand import bare, git


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lab.git"


@pytest.fixture
def workspace(folder):
    with padre.open(f"git+{folder.as_uri()}", durability="process", linger=0) as workspace:
        yield workspace


@pytest.fixture
def experiment(workspace):
    """An experiment with three titles; the last but one is under a tag."""
    found = workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="first"))
    for title in ("second", "third"):
        found.title = title
        found = workspace.experiments.put(found)
        if title == "second":
            git(workspace.backend.store.branch.common, "tag", "published", "padre")
    return found


def test_history_tells_all_versions_newest_first(workspace, experiment):
    versions = list(workspace.experiments.history("iris/svc"))
    assert [version.title for version in versions] == ["third", "second", "first"]
    assert [version.etag.partition("-")[0] for version in versions] == ["3", "2", "1"]


def test_each_version_names_the_commit_that_it_came_with(workspace, experiment, folder):
    commits = git(folder, "log", "--format=%H", "padre").split()
    assert [place for _, place in workspace.experiments.revisions(experiment)] == commits[:3]


def test_what_is_acknowledged_and_not_committed_is_the_newest_version(folder):
    with padre.open(f"git+{folder.as_uri()}", linger=1000) as workspace:
        found = workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="only"))
        ((version, place),) = workspace.experiments.revisions(found)
        assert (version.title, place) == ("only", None)


def test_an_old_version_is_read_by_etag_commit_tag_and_time(workspace, experiment, folder):
    first, second = list(workspace.experiments.history(experiment))[:0:-1]
    commit = git(folder, "rev-parse", "padre~1")
    for at in (second.etag, commit, commit[:10], "published", second.updated_at.isoformat()):
        assert workspace.experiments.get("iris/svc", at=at).title == "second"
    assert workspace.experiments.get(experiment, at=first.updated_at.isoformat()).title == "first"
    assert workspace.experiments.get(experiment, at="2100-01-01").title == "third"


@pytest.mark.parametrize("at", ["9-0123456789abcdef", "0" * 40, "no-such-tag", "2000-01-01", ":/first", "padre^{/x}"])
def test_a_version_that_never_was_is_not_found(workspace, experiment, at):
    with pytest.raises(NotFoundError):
        workspace.experiments.get(experiment, at=at)


def test_a_time_that_is_none_is_refused(workspace, experiment):
    with pytest.raises(InvalidObjectError, match="is no time"):
        workspace.experiments.get(experiment, at="2026-13-01")


def test_restoring_an_old_version_makes_a_new_one_that_says_the_same(workspace, experiment):
    restored = workspace.experiments.restore(experiment, at="published")
    assert restored.title == "second"
    assert restored.etag.startswith("4-")
    assert workspace.experiments.get("iris/svc") == restored


def test_a_deleted_object_has_a_history_and_comes_back_as_it_was_at_a_tag(workspace, experiment):
    workspace.experiments.delete(experiment)
    assert len(list(workspace.experiments.history(experiment.id))) == 4
    assert workspace.experiments.get(experiment.id, at="published").title == "second"
    assert workspace.experiments.restore(experiment.id, at="published").title == "second"


def test_what_lives_in_a_run_has_a_history_of_its_own(workspace):
    with workspace.start_run("iris/svc") as run:
        run.log_artifact(__file__, "one.py")
    artifact = next(iter(workspace.artifacts.list(within=run.id)))
    artifact.description = "changed"
    workspace.artifacts.put(artifact)
    assert [version.description for version in workspace.artifacts.history(artifact)] == ["changed", None]


def test_a_store_without_history_says_so(tmp_path):
    with padre.open(tmp_path / "store") as workspace:
        project = workspace.projects.put(padre.Project(name="iris"))
        for call in (workspace.projects.history, lambda item: workspace.projects.get(item, at="2026-11-23")):
            with pytest.raises(UnsupportedError, match="history"):
                call(project)


def test_what_each_side_of_a_merge_did_is_in_the_history(tmp_path):
    bare(tmp_path / "lab.git")
    url = f"git+{(tmp_path / 'lab.git').as_uri()}"
    with (
        Workspace(CloneBackend(url, clone=tmp_path / "a.git", linger=0)) as ada,
        Workspace(CloneBackend(url, clone=tmp_path / "b.git", linger=0)) as bob,
    ):
        ada.experiments.put(padre.Experiment(name="svc", project="iris", title="first"))
        ada.backend.publish()
        bob.backend.pull()
        edited = set()
        for lab, change in ((ada, {"title": "ada's"}), (bob, {"description": "one"}), (bob, {"description": "two"})):
            edited.add(lab.experiments.put(padre.Experiment(name="svc", project="iris", **change)).etag)
        bob.backend.publish()
        ada.backend.publish()
        bob.backend.pull()
        for lab in (ada, bob):
            versions = list(lab.experiments.history("iris/svc"))
            etags = [version.etag for version in versions]
            assert len(etags) == len(set(etags)) == 5
            assert edited < set(etags)
            assert (versions[0].title, versions[0].description) == ("ada's", "two")
            assert (versions[-1].title, versions[-1].description) == ("first", None)
            for version in versions:
                assert lab.experiments.get("iris/svc", at=version.etag).title == version.title


class WithoutTitle:
    """An extension that shows nobody a title."""

    @padre.hookimpl(wrapper=True)
    def padre_experiment_get(self, request):
        record = yield
        data = record.data()
        data.pop("title", None)
        return dataclasses.replace(record, content=canonical.to_json(data))


class Cache:
    """An extension that answers every get with the newest version."""

    @padre.hookimpl
    def padre_experiment_get(self, request):
        return request.backend.get(request.ref.kind, request.ref.id)


def test_what_an_extension_hides_is_hidden_in_old_versions_too(experiment, workspace, folder):
    with padre.open(f"git+{folder.as_uri()}", extensions=[WithoutTitle()]) as limited:
        assert {version.title for version in limited.experiments.history("iris/svc")} == {None}
        assert limited.experiments.get("iris/svc", at="published").title is None
        assert limited.experiments.get("iris/svc", at=experiment.etag).title is None
        limited.experiments.restore("iris/svc", at="published")  # of what is stored, not of what he may see
    assert workspace.experiments.get("iris/svc").title == "second"


def test_an_extension_that_answers_for_an_old_version_with_the_newest_is_told(experiment, workspace, folder):
    with padre.open(f"git+{folder.as_uri()}", extensions=[Cache()]) as cached:
        assert cached.experiments.get("iris/svc").title == "third"
        with pytest.raises(padre.PluginError, match=r"request\.record"):
            cached.experiments.get("iris/svc", at="published")

"""Several remotes at once: each has its own base, reads fall back in order, and one that lagged is healed."""

import shutil

import pytest

import padre_core as padre


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr("padre_core.services.shipper.GATHER", 60)  # only what a test asks for travels
    monkeypatch.setattr("padre_core.services.shipper.DEADLINE", 0)
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def urls(tmp_path):
    """Two folders that serve as remotes."""
    made = {name: (tmp_path / name).as_uri() for name in ("lab", "nas")}
    for url in made.values():
        padre.open(url).close()
    return made


@pytest.fixture
def here(tmp_path, urls):
    with padre.open(tmp_path / "here", remotes=urls) as workspace:
        yield workspace


def trained(workspace):
    with workspace.start_run("iris/svc") as run:
        run.log_points("loss", [1.0, 0.5])
    return run.id


def described(url):
    with padre.open(url, remotes={}, readonly=True) as remote:
        return remote.experiments.get("iris/svc").description


def test_a_sync_brings_everything_to_all_remotes(here, urls):
    run = trained(here)
    assert not here.remotes.sync().failed
    for name, url in urls.items():
        assert list(here.remotes.verify(name)) == []
        with padre.open(url, remotes={}, readonly=True) as remote:
            assert list(remote.runs.points(run, "loss").values) == [1.0, 0.5]


def test_a_remote_that_lagged_is_healed_by_a_sync(here, urls, tmp_path):
    trained(here)
    here.remotes.sync()
    (tmp_path / "nas").rename(tmp_path / "unplugged")
    experiment = here.experiments.get("iris/svc", refresh="never")
    experiment.description = "better"
    here.experiments.put(experiment, remote="lab")
    run = trained(here)
    shutil.move(tmp_path / "unplugged", tmp_path / "nas")
    with padre.open(tmp_path / "here", remotes=urls) as again:
        assert not again.remotes.sync().failed
        assert list(again.remotes.verify("nas")) == list(again.remotes.verify("lab")) == []
    assert described(urls["nas"]) == "better"
    with padre.open(urls["nas"], remotes={}, readonly=True) as remote:
        assert remote.runs.get(run).status == "finished"


def test_what_somebody_changed_on_one_remote_comes_to_the_other_by_a_sync(here, urls):
    trained(here)
    here.remotes.sync()
    with padre.open(urls["nas"], remotes={}) as somebody:
        experiment = somebody.experiments.get("iris/svc")
        experiment.description = "theirs"
        somebody.experiments.put(experiment)
    here.remotes.sync()
    here.remotes.sync()
    assert described(urls["lab"]) == "theirs"


def test_a_get_falls_back_to_the_next_remote(urls, tmp_path):
    with padre.open(urls["nas"], remotes={}) as somebody:
        run = trained(somebody)
    away = {"lab": "padre+http://127.0.0.1:9", "nas": urls["nas"]}
    with padre.open(tmp_path / "other", remotes=away) as workspace:
        found = workspace.runs.get(run)
        assert (found.status, found.stale) == ("finished", False)
        assert list(workspace.runs.points(run, "loss").values) == [1.0, 0.5]


def test_each_remote_has_a_base_of_its_own(here):
    trained(here)
    kept = here.experiments.put("iris/svc", remote="lab")
    assert kept.remotes["lab"].etag == kept.etag
    assert "nas" not in kept.remotes
    kept.description = "better"
    kept = here.experiments.put(kept, remote="nas")
    assert kept.remotes["nas"].etag == kept.etag != kept.remotes["lab"].etag

import pytest

import padre_core as padre


@pytest.fixture
def here(command, tmp_path, monkeypatch):
    """`padre` in a folder whose store has the remote `lab`."""
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    command("init", "here")
    padre.open("lab").close()
    command("remote", "add", "lab", (tmp_path / "lab").as_uri(), "--policy", "manual")
    with padre.open("here") as workspace:
        workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    return command


def put(url, **fields):
    """A change by somebody else."""
    with padre.open(url, remotes={}) as workspace:
        experiment = workspace.experiments.get("iris/svc")
        for name, value in fields.items():
            setattr(experiment, name, value)
        workspace.experiments.put(experiment)


def test_a_push_shows_what_it_would_do_then_does_it_and_then_nothing(here):
    planned = here("push", "iris/svc", "--dry-run", "--json").json
    assert {(step["kind"], step["action"]) for step in planned} == {("project", "upload"), ("experiment", "upload")}
    assert here("show", "iris/svc", "--store", "lab").code == 3
    assert here("push", "iris/svc").code == 0
    assert here("show", "iris/svc", "--store", "lab").code == 0
    assert here("push", "iris/svc").out == "everything is where it should be\n"
    assert here("status").out == "everything is where it should be\n"
    assert here("verify", "--remote", "lab").out == "everything is sound\n"


def test_a_pull_brings_what_only_the_remote_has(here):
    put_there = {"name": "other", "project": "iris"}
    with padre.open("lab", remotes={}) as lab:
        lab.experiments.put(padre.Experiment(**put_there))
    assert here("show", "iris/other", "--json").json[0]["name"] == "other"
    assert here("pull").code == 0
    assert here("verify", "--remote", "lab").code == 0


def test_what_only_the_remote_has_is_counted_by_status_and_fetched_by_pull(here):
    with padre.open("lab", remotes={}) as lab:
        lab.experiments.put(padre.Experiment(name="other", project="iris"))
    told = here("status").out.splitlines()
    assert told == ["everything is where it should be", "1 more on lab and not here; `padre pull` downloads them"]
    assert [step["action"] for step in here("pull", "--json").json] == ["fetch"]


def test_sync_and_status_take_objects_and_a_filter(here):
    with padre.open("here") as workspace:
        workspace.experiments.put(padre.Experiment(name="other", project="iris"))
        for rate in (0.1, 0.5):
            with workspace.start_run("iris/svc", parameters={"rate": rate}):
                pass
    assert here("push", "iris").code == 0
    put("here", title="new")
    with padre.open("here", remotes={}) as workspace:
        other = workspace.experiments.get("iris/other")
        other.title = "new too"
        workspace.experiments.put(other)
    assert [step["kind"] for step in here("status", "iris/other", "--json").json] == ["experiment"]
    assert here("status", "iris/svc", "--where", "parameters.rate > 0.3").out.count("upload") == 1
    assert here("sync", "iris/svc").code == 0
    assert here("show", "iris/svc", "--store", "lab", "--json").json[0]["title"] == "new"
    assert "title" not in here("show", "iris/other", "--store", "lab", "--json").json[0]
    assert here("sync", "--dry-run").out.count("upload") == 1


def test_status_says_what_the_remote_refused_and_why(here):
    with padre.open("here") as workspace:
        svc = workspace.experiments.get("iris/svc", refresh="never")
        error = padre.InvalidObjectError("this server takes no such names")
        workspace.remotes.push([("experiment", str(svc.id))])
        workspace.remotes.pair("lab").refuse(("experiment", str(svc.id)), svc.etag, error)
    result = here("status")
    assert result.code == 1
    assert "svc" in result.out
    assert str(error) in result.out
    assert [step["error"] for step in here("status", "--json").json if step["kind"] == "experiment"] == [str(error)]
    assert here("sync", "--everything").code == 0
    assert here("status").out == "everything is where it should be\n"


def test_what_is_in_no_conflict_cannot_be_resolved(here):
    result = here("resolve", "iris/svc", "--theirs")
    assert result.code != 0
    assert "no conflict" in result.err


def test_a_conflict_is_shown_and_decided(here):
    here("push", "iris/svc")
    put("here", description="ours")
    put("lab", description="theirs")
    assert here("sync").code == 0
    result = here("conflicts", "--json")
    assert (result.code, list(result.json[0]["fields"].values())) == (1, [["description"]])
    assert here("resolve", "iris/svc").code == 2
    assert here("resolve", "iris/svc", "--theirs").code == 0
    assert here("conflicts").code == 0
    assert here("sync").code == 0
    kept = here("show", "iris/svc", "--json").json[0]["description"]
    assert here("show", "iris/svc", "--json", "--store", "lab").json[0]["description"] == kept


def test_rm_on_the_remote_leaves_what_is_here(here):
    here("push", "iris/svc")
    assert here("rm", "iris/svc", "--mode", "remote").code == 0
    assert here("show", "iris/svc").code == 0
    assert here("show", "iris/svc", "--store", "lab").code == 3


def test_a_remote_that_is_away_is_named_and_nothing_hangs(here):
    here("remote", "add", "team", "padre+http://127.0.0.1:9")
    result = here("push", "iris/svc", "--remote", "team")
    assert (result.code, "team is away" in result.err) == (1, True)


def test_without_remotes_the_commands_say_how_to_add_one(command):
    command("init", "lab")
    result = command("sync")
    assert result.code == 7
    assert "padre remote add" in result.err


def test_what_is_pushed_by_name_goes_to_the_default_remote_alone(here, tmp_path):
    padre.open("nas").close()
    here("remote", "add", "nas", (tmp_path / "nas").as_uri(), "--policy", "manual", "--default")
    assert here("push", "iris/svc").code == 0
    assert here("show", "iris/svc", "--store", "nas").code == 0
    assert here("show", "iris/svc", "--store", "lab").code == 3
    assert here("push", "iris/svc", "--remote", "lab").code == 0
    assert here("show", "iris/svc", "--store", "lab").code == 0


def test_status_shows_what_waits_in_the_spool_of_a_store_that_is_elsewhere(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PADRE_URL", url := f"sqlitefile://{tmp_path}/lab.db")
    with padre.open(url) as workspace, workspace.start_run("iris/svc") as run:
        for step in range(3):
            run.log_metric("loss", step)
        (waiting,) = command("status", "--json").json
        assert waiting == {"waiting": 3, "stream": "points", "run": run.id, "writer": waiting["writer"]}
        assert command("status").out.split()[-3:] == [run.id, waiting["writer"], "3"]
    assert command("status").out == "everything is where it should be\n"


def test_put_uploads_by_name_what_is_here_and_show_says_where_it_is(here, tmp_path):
    assert "remotes" not in here("show", "iris/svc").out
    assert here("put", "iris/svc", "--remote", "lab", "--json").json[0]["name"] == "svc"
    (shown,) = here("show", "iris/svc", "--json").json
    (lab,) = shown["remotes"].values()
    assert (lab["intent"], lab["etag"]) == ("track", shown["etag"])
    assert lab["url"].startswith((tmp_path / "lab").as_uri())
    assert f"remotes.lab: track {lab['etag']} {lab['url']}" in " ".join(here("show", "iris/svc").out.split())
    assert here("rm", "iris/svc", "--mode", "remote").code == 0
    assert "local-only" in here("show", "iris/svc").out
    missing = here("put", "iris/none", "--remote", "lab")
    assert missing.code == 3
    assert "no file" in here("put", "iris/svc").err


def test_show_names_the_versions_in_conflict(here):
    here("push", "iris/svc")
    put("here", title="ours")
    put("lab", title="theirs")
    here("sync")
    (conflict,) = here("conflicts", "--json").json
    assert here("show", "iris/svc", "--json").json[0]["conflicts"] == list(conflict["fields"])
    assert next(iter(conflict["fields"])) in here("show", "iris/svc").out


def test_conflicts_of_a_store_without_remotes_are_shown_and_decided(here):
    here("push", "iris/svc")
    put("here", description="ours")
    put("lab", description="theirs")
    assert here("copy", "here", "lab").code == 0
    assert here("conflicts", "--store", "lab").code == 1
    assert here("resolve", "iris/svc", "--ours", "--store", "lab").code == 0
    assert here("conflicts", "--store", "lab").code == 0

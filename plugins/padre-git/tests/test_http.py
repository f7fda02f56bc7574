"""Through a real `git http-backend` behind a web server that asks who is there."""

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import padre_core as padre
from padre_core.errors import UnsupportedError
from padre_core.progress import watched
from padre_git.clone import CloneBackend

from .by_hand import bare, git
from .git_server import serving

CANARY = "canary-7c1f0e9b2a"


@pytest.fixture
def server(tmp_path):
    bare(tmp_path / "srv" / "lab.git")
    with serving(tmp_path / "srv", {"ada": CANARY}) as server:
        yield server


def opened(server, path, **options):
    return padre.open(f"{server.url}/lab.git", clone=path, **{"user": "ada", "token": CANARY, **options})


def tip(repository):
    return git(repository, "rev-parse", "padre")


def test_what_one_clone_stores_another_reads(server, tmp_path):
    with opened(server, tmp_path / "a.git") as lab, lab.start_run("iris/svc", parameters={"C": 1.5}) as run:
        run.log_metric("loss", 0.25)
    with opened(server, tmp_path / "b.git") as lab:
        (found,) = lab.runs.list(where="parameters.C > 1")
        assert (found.id, lab.runs.points(found, "loss").values.tolist()) == (run.id, [0.25])


def test_an_empty_repository_becomes_a_store_with_the_first_push(server, tmp_path):
    with opened(server, tmp_path / "a.git") as lab:
        lab.projects.put(padre.Project(name="iris"))
        lab.backend.publish()
        assert tip(tmp_path / "srv/lab.git") == tip(tmp_path / "a.git")


def test_two_that_begin_in_one_empty_repository_end_with_one_store(server, tmp_path):
    one, two = opened(server, tmp_path / "a.git"), opened(server, tmp_path / "b.git")
    with one, two:
        one.projects.put(padre.Project(name="one"))
        two.projects.put(padre.Project(name="two"))
        one.backend.publish()
        two.backend.publish()
        one.backend.pull()
        assert one.backend.info().store == two.backend.info().store
        for lab in (one, two):
            assert sorted(project.name for project in lab.projects.list()) == ["one", "two"]


def test_a_refused_push_is_merged_and_tried_again(server, tmp_path):
    with opened(server, tmp_path / "a.git") as one:
        one.experiments.put(padre.Experiment(name="svc", project="iris"))
        one.backend.publish()
        with opened(server, tmp_path / "b.git") as two:
            ours, theirs = one.experiments.get("iris/svc"), two.experiments.get("iris/svc")
            ours.description, theirs.tags = "by one", {"by": "two"}
            one.experiments.put(ours)
            two.experiments.put(theirs)
            one.backend.publish()
            two.backend.publish()
            one.backend.pull()
            for lab in (one, two):
                merged = lab.experiments.get("iris/svc")
                assert (merged.description, merged.tags, merged.conflicts) == ("by one", {"by": "two"}, ())
        assert git(tmp_path / "srv/lab.git", "rev-list", "--merges", "--count", "padre") == "1"


def test_a_wrong_token_says_how_to_sign_in(server, tmp_path):
    with pytest.raises(padre.AuthenticationError, match="not signed in"):
        opened(server, tmp_path / "a.git", token="wrong")
    with pytest.raises(padre.AuthenticationError, match="credential helper or PADRE_GIT_TOKEN"):
        padre.open(f"{server.url}/lab.git", clone=tmp_path / "b.git")


def test_the_token_of_the_environment_is_for_its_own_origin(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_GIT_TOKEN", f"{server.origin} {CANARY}")
    with padre.open(f"{server.url}/lab.git", clone=tmp_path / "a.git", user="ada"):
        pass
    monkeypatch.setenv("PADRE_GIT_TOKEN", f"http://ada@127.0.0.1:{server.server_port} {CANARY}")
    with padre.open(f"{server.url}/lab.git", clone=tmp_path / "b.git"):
        pass
    seen = len(server.requests)
    monkeypatch.setenv("PADRE_GIT_TOKEN", f"http://ada@127.0.0.1:{server.server_port + 1} {CANARY}")
    with pytest.raises(padre.AuthenticationError):
        padre.open(f"{server.url}/lab.git", clone=tmp_path / "c.git")
    assert all(user is None for _, _, user in server.requests[seen:])


def test_the_users_own_credential_helper_signs_in(server, tmp_path, monkeypatch):
    store = tmp_path / "kept"
    store.write_text(f"http://ada:{CANARY}@127.0.0.1:{server.server_port}\n")
    settings = tmp_path / "gitconfig"
    settings.write_text(f"[credential]\n\thelper = store --file {store}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    with padre.open(f"{server.url}/lab.git", clone=tmp_path / "a.git"):
        pass


def test_a_token_is_nowhere_to_be_seen(server, tmp_path, caplog):
    seen: list[bytes] = []
    ended = threading.Event()

    def look():
        while not ended.is_set():
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(place.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    caplog.set_level(0)
    try:
        with opened(server, tmp_path / "a.git") as lab:
            with lab.start_run("iris/svc"):
                pass
            lab.backend.publish()
            server.users = {}
            lab.projects.put(padre.Project(name="later"))
            with pytest.raises(padre.AuthenticationError) as refused:
                lab.backend.publish()
    finally:
        ended.set()
        watcher.join()
    assert any(b"\0push\0" in line for line in seen), "the program was never seen"
    assert not any(CANARY.encode() in line for line in seen)
    assert CANARY not in str(refused.value) + caplog.text + repr(vars(lab.backend.transport))
    for path in (tmp_path / "a.git").rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes(), path


def test_work_goes_on_while_the_server_is_away(tmp_path, caplog):
    bare(tmp_path / "srv" / "lab.git")
    with serving(tmp_path / "srv") as server:
        url = f"{server.url}/lab.git"
        lab = padre.open(url, clone=tmp_path / "a.git")
    with lab:
        with lab.start_run("iris/svc") as run:
            run.log_metric("loss", 1.0)
        with pytest.raises(padre.UnavailableError, match="cannot be reached"):
            lab.backend.publish()
        assert lab.runs.get(run.id).status == "finished"
        assert lab.backend.info().details["unpublished"]
    assert "cannot be reached" in caplog.text
    with padre.open(url, clone=tmp_path / "a.git") as again:
        assert again.runs.get(run.id).id == run.id


def test_without_server_and_clone_nothing_is_opened(tmp_path):
    with pytest.raises(padre.UnavailableError):
        padre.open("git+http://127.0.0.1:9/lab.git", clone=tmp_path / "a.git")


def test_without_the_program_git_a_clone_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="needs the program git"):
        CloneBackend("git+http://127.0.0.1:9/lab.git", clone=tmp_path / "a.git")


def test_a_clone_of_another_repository_is_not_taken(server, tmp_path):
    bare(tmp_path / "srv" / "other.git")
    with opened(server, tmp_path / "a.git"):
        pass
    with pytest.raises(padre.ConflictError, match="is a clone of"):
        padre.open(f"{server.url}/other.git", clone=tmp_path / "a.git", user="ada", token=CANARY)


def test_a_workspace_pushes_to_a_git_remote_and_pulls_from_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_GIT_TOKEN", f"http://ada@127.0.0.1:{server.server_port} {CANARY}")
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    remotes = {"lab": f"{server.url}/lab.git"}
    monkeypatch.setenv("PADRE_DATA", str(tmp_path / "data-a"))
    with padre.open(tmp_path / "a", remotes=remotes) as one:
        with one.start_run("iris/svc", parameters={"C": 2}) as run:
            run.log_metrics({"loss": 0.5})
        one.experiments.put("iris/svc", remote="lab")
        assert tip(tmp_path / "srv/lab.git"), "put returned before the remote had it"
    monkeypatch.setenv("PADRE_DATA", str(tmp_path / "data-b"))
    with padre.open(tmp_path / "b", remotes=remotes) as two:
        two.remotes.pull()
        assert two.runs.points(run.id, "loss").values.tolist() == [0.5]


def test_a_remote_that_is_away_is_reported_and_made_up_for(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_GIT_TOKEN", f"http://ada@127.0.0.1:{server.server_port} {CANARY}")
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PADRE_DATA", str(tmp_path / "data"))
    with padre.open(tmp_path / "a", remotes={"lab": f"{server.url}/lab.git"}) as one:
        one.experiments.put(padre.Experiment(name="svc", project="iris"), remote="lab")
        server.answer = lambda request: request.reply(503, [], b"") or True
        with pytest.raises(padre.UnavailableError):
            one.experiments.put(padre.Experiment(name="tree", project="iris"), remote="lab")
        server.answer = lambda request: False
        assert not one.remotes.sync().away
    with opened(server, tmp_path / "c.git") as lab:
        assert sorted(found.name for found in lab.experiments.list()) == ["svc", "tree"]


def test_a_redirect_is_not_followed(server, tmp_path):
    bare(tmp_path / "elsewhere" / "lab.git")
    with serving(tmp_path / "elsewhere") as thief:
        server.answer = lambda request: request.reply(302, [("Location", thief.origin + request.path)], b"") or True
        with pytest.raises(padre.BackendError, match="redirects elsewhere"):
            opened(server, tmp_path / "a.git")
        assert thief.requests == []


def test_a_server_that_says_nothing_more_is_given_up(server, tmp_path):
    server.answer = lambda request: time.sleep(20) or True
    with pytest.raises(padre.UnavailableError, match="no progress"):
        CloneBackend(f"{server.url}/lab.git", clone=tmp_path / "a.git", idle=1.5)


def test_a_protected_branch_says_why(server, tmp_path):
    hook = tmp_path / "srv/lab.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'only reviewers push here' >&2\nexit 1\n")
    hook.chmod(0o755)
    with opened(server, tmp_path / "a.git") as lab:
        lab.projects.put(padre.Project(name="iris"))
        with pytest.raises(padre.AccessDeniedError, match="only reviewers push here"):
            lab.backend.publish()


@pytest.mark.parametrize(
    "url",
    [
        "git+https://token@git.example.org/lab.git",
        "git+https://git.example.org/lab.git?token=x",
        "git+https://-oProxyCommand=x/lab.git",
        "git+ssh://git@-oProxyCommand=x/lab.git",
        "git+ssh://-x@git.example.org/lab.git",
        "git+http://git.example.org/lab.git",
        "git+https://git.example.org/",
        "git+https://git.example.org/a b",
    ],
)
def test_such_a_url_is_refused_before_anything_is_made(url, tmp_path):
    with pytest.raises(padre.InvalidObjectError):
        padre.open(url, clone=tmp_path / "a.git")
    assert not (tmp_path / "a.git").exists()


def test_the_url_may_name_the_branch(server, tmp_path):
    with padre.open(f"{server.url}/lab.git?branch=team/one", clone=tmp_path / "a.git", user="ada", token=CANARY) as lab:
        lab.projects.put(padre.Project(name="iris"))
    assert git(tmp_path / "srv/lab.git", "branch", "--list") == "team/one"


@pytest.mark.parametrize("option", [{"idle": "soon"}, {"max_fetch": None}, {"nonsense": 1}, {"token": "a b"}])
def test_such_an_option_is_refused_before_anything_is_made(server, tmp_path, option):
    with pytest.raises((padre.InvalidObjectError, padre.UnsupportedError)):
        opened(server, tmp_path / "a.git", **option)
    assert not (tmp_path / "a.git").exists()


def test_two_processes_on_one_clone_and_one_elsewhere_lose_nothing(tmp_path):
    bare(tmp_path / "srv" / "lab.git")
    code = """
import sys
import padre_core as padre
with padre.open(sys.argv[1], clone=sys.argv[2], linger=0.05) as lab:
    for number in range(12):
        lab.projects.put(padre.Project(name=f"{sys.argv[3]}-{number}"))
        found = lab.experiments.put(padre.Experiment(name="shared", project="all"))
        if number % 4 == 3:
            lab.backend.publish()
"""
    with serving(tmp_path / "srv") as server:
        url = f"{server.url}/lab.git"
        with padre.open(url, clone=tmp_path / "a.git"):
            pass
        writers = [("a.git", "one"), ("a.git", "two"), ("b.git", "three")]
        running = [
            subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path / clone), name]) for clone, name in writers
        ]
        assert [process.wait(timeout=300) for process in running] == [0, 0, 0]
        with padre.open(url, clone=tmp_path / "c.git") as lab:
            names = {found.name for found in lab.projects.list()}
            assert names >= {f"{name}-{number}" for _, name in writers for number in range(12)}


def test_transfers_and_the_first_index_of_a_clone_tell_how_far_they_are(server, tmp_path, monkeypatch):
    monkeypatch.setattr("padre_git.behind.PAUSE", 1000)  # else the thread behind may be first, and nothing is left
    told = []

    def phases():
        return {phase for phase, done, total in told if 0 < done == total}

    # Else each of the runs waits for the disk, on which others may write.
    with opened(server, tmp_path / "a.git", linger=1000, durability="process") as lab:
        for _ in range(500):
            lab.start_run("iris/svc").finish()
        with watched(lambda: contextlib.nullcontext(lambda *far: told.append(far))):
            lab.backend.publish()
    assert "writing objects" in phases()
    told.clear()
    watch = watched(lambda: contextlib.nullcontext(lambda *far: told.append(far)))
    with watch, opened(server, tmp_path / "b.git") as lab:
        assert "receiving objects" in phases()
        assert lab.runs.count() == 500
    assert "filling the index" in {phase for phase, _, _ in told}


def test_a_run_that_is_shipped_in_the_background_for_long_makes_few_commits_and_ends_on_the_server(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr("padre_core.services.shipper.GATHER", 0.01)
    monkeypatch.setattr("padre_core.services.shipper.PAUSE", 0.05)
    monkeypatch.setenv("PADRE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PADRE_GIT_TOKEN", f"http://ada@127.0.0.1:{server.server_port} {CANARY}")
    passes = []
    later = CloneBackend.publish_later
    monkeypatch.setattr(CloneBackend, "publish_later", lambda self: passes.append(self) or later(self))
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    with padre.open(tmp_path / "a", remotes={"lab": f"{server.url}/lab.git"}) as lab, lab.start_run("iris/svc") as run:
        end = time.monotonic() + 300
        for step in itertools.count():
            run.log_metric("loss", 1.0, step=step)
            time.sleep(0.02)
            if len(passes) >= 10:
                break
            assert time.monotonic() < end
    assert int(git(tmp_path / "srv/lab.git", "rev-list", "--count", "padre")) <= 6
    with opened(server, tmp_path / "b.git") as lab:
        assert len(lab.runs.points(run.id, "loss").values) == step + 1

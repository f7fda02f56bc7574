"""`padre history`, `diff`, `restore --at` and `tag`, as a terminal's user has them."""

import json
import subprocess

import pytest

import padre_core as padre
from padre_core.cli import main


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PADRE_CONFIG", str(tmp_path / "settings"))
    monkeypatch.setenv("PADRE_USER", "ada")
    monkeypatch.setenv("PADRE_URL", f"git+{(tmp_path / 'lab.git').as_uri()}")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["padre", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return captured.out

    with padre.open() as workspace:
        workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="one"))
        workspace.experiments.put(padre.Experiment(name="rival", project="iris", title="one", description="other"))
    run("tag", "v1")
    with padre.open() as workspace:
        workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="two"))
    return run


def test_history_shows_when_by_whom_and_what(command):
    id = json.loads(command("show", "iris/svc", "--json"))["id"]
    command("rm", id)
    rows = [json.loads(line) for line in command("history", id, "--json").splitlines()]
    assert [row["changed"] for row in rows] == [["deleted"], ["title"], []]
    assert {row["by"] for row in rows} == {"ada"}
    assert all(len(row["commit"]) == 40 for row in rows)
    assert len(command("history", id, "--limit", "2").splitlines()) == 3


def test_diff_shows_the_last_change_of_an_object(command):
    assert (
        command("diff", "iris/svc") == command("diff", "iris/svc", "--from", "v1") == '- title: "one"\n+ title: "two"\n'
    )


def test_diff_shows_in_what_two_objects_differ(command):
    lines = command("diff", "iris/rival", "iris/svc", "--to", "v1", "--json").splitlines()
    assert [json.loads(line)["field"] for line in lines] == ["description", "name"]


def test_an_old_version_is_shown_and_restored_by_a_tag(command, tmp_path):
    assert json.loads(command("show", "iris/svc", "--at", "v1", "--json"))["title"] == "one"
    command("restore", "iris/svc", "--at", "v1")
    assert json.loads(command("show", "iris/svc", "--json"))["title"] == "one"
    command("tag", "v2", "-m", "Published")
    assert command("tag") == "v1\nv2\n"
    assert subprocess.check_output(["git", "tag"], cwd=tmp_path / "lab.git", text=True) == "v1\nv2\n"

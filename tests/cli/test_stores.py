import io

import pytest

import padre_core as padre


def test_init_makes_a_store_that_this_folder_and_those_below_use(command, tmp_path, monkeypatch):
    (made,) = command("init", "my-store", "--json").json
    assert made["url"] == (tmp_path / "my-store").as_uri()
    assert (tmp_path / "my-store" / "padre.json").is_file()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert command("ls").code == 0


def test_init_replaces_no_configuration(command, tmp_path):
    command("init")
    result = command("init", "other")
    assert result.code == 4
    assert not (tmp_path / "other").exists()
    assert "padre-store" in (tmp_path / "padre.toml").read_text()


@pytest.mark.parametrize("url", ['a"b', "https://ada:xyzzy@example.org/x", "nonsense://x"])
def test_init_refuses_a_bad_url_and_leaves_nothing(command, tmp_path, url):
    result = command("init", url)
    assert result.code in (2, 8)
    assert "xyzzy" not in result.err
    assert not (tmp_path / "padre.toml").exists()


@pytest.mark.parametrize("name", ["ls", "search", "verify", "refresh", "rm", "restore", "show", "get", "log", "points"])
def test_only_init_put_and_copy_make_a_store(command, tmp_path, name):
    result = command(name, *(["iris/svc"] if name in ("rm", "restore", "show", "get", "log", "points") else []))
    assert result.code == 3
    assert "padre init" in result.err
    assert not (tmp_path / "padre-store").exists()


def test_copy_brings_everything_over(command, runs, tmp_path):
    (report,) = command("copy", "padre-store", "copy", "--json").json
    assert (report["points"], report["lines"], report["newer"]) == (6, 6, 0)
    assert "objects:" in command("copy", "padre-store", "copy").out
    with padre.open(tmp_path / "copy") as copy:
        assert [run.id for run in copy.runs.list()] == [run.id for run in runs]


def test_copy_of_a_part(command, runs, tmp_path):
    assert command("copy", "padre-store", "part", "--where", "parameters.C > 5").code == 0
    with padre.open(tmp_path / "part") as part:
        assert [run.id for run in part.runs.list()] == [runs[2].id]


def test_copy_from_nowhere_is_refused(command, tmp_path):
    assert command("copy", "nowhere", "copy").code == 3


def test_verify_of_a_sound_store(command, runs, workspace):
    workspace.close()
    result = command("verify")
    assert (result.code, result.out) == (0, "everything is sound\n")
    assert command("verify", "--json").out == ""


def test_verify_names_what_is_damaged(command, runs, workspace, tmp_path):
    workspace.close()
    (damaged,) = tmp_path.glob(f"padre-store/runs/*/*/{runs[0].id}/run.json")
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    result = command("verify")
    assert result.code == 1
    assert result.out.startswith("corrupt ")
    assert runs[0].id in result.out
    assert command("verify", "--json").json[0]["code"] == "corrupt"


def test_refresh_tells_how_much_changed(command, runs, workspace):
    workspace.close()
    assert command("refresh").out.endswith(" changed\n")
    assert "changed" in command("refresh", "--json").json[0]


def test_plugins_shows_what_is_installed(command):
    result = command("plugins")
    assert result.code == 0
    assert "padre-file" in result.out
    assert {plugin["name"] for plugin in command("plugins", "--json").json[0]} >= {"file", "memory"}


def test_hooks_shows_signature_and_text(command):
    assert "padre_run_create(request: Request) -> Record" in command("hooks").out
    names = {hook["name"] for hook in command("hooks", "--json").json}
    assert {"padre_prepare", "padre_scope", "padre_object_changed", "padre_dataset_list"} <= names


def test_maintain_merges_what_separate_processes_left_and_changes_nothing(command, workspace, tmp_path):
    for number in range(3):
        with padre.open("padre-store") as other, other.start_run("iris/svc", name=f"run-{number}") as run:
            run.log_metric("loss", number / 2)
    store = tmp_path / "padre-store"
    before = {run.name: run.etag for run in workspace.runs.list()}
    assert len([*(store / "log").glob("*.notes")]) == 3
    (done,) = command("maintain", "--json").json
    assert done["listings merged"] >= 3
    assert [*(store / "log").glob("*.notes")] == []
    assert {run.name: run.etag for run in workspace.runs.list("metrics.loss.last >= 0")} == before
    (tmp_path / "cache").rename(tmp_path / "old-cache")  # without an index, the snapshot alone answers
    assert {row["name"] for row in command("search", "--json").json} == {"run-0", "run-1", "run-2"}
    assert command("verify").code == 0
    assert command("maintain").out == "nothing to do\n"


def test_purge_of_all_time_is_a_usage_error(command, workspace):
    assert command("purge", "--older-than", "9" * 12).code == 2


def test_purge_shows_what_would_go_asks_and_removes_it(command, workspace, runs, monkeypatch):
    workspace.experiments.delete("iris/svc")
    assert command("purge").out == "nothing to do\n"
    shown = command("purge", "--older-than", 0, "--dry-run").out
    assert "experiment " in shown
    assert "would remove " in shown
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    refused = command("purge", "--older-than", 0)
    assert refused.code == 1
    assert "for good?" in refused.err
    assert "nothing was removed" in refused.err
    (would,) = command("purge", "--older-than", 0, "--dry-run", "--json").json
    (done,) = command("purge", "--older-than", 0, "--yes", "--json").json
    assert done["purged"] == would["purged"] != []
    assert command("purge", "--older-than", 0).out == "nothing to do\n"
    assert command("restore", done["purged"][0]["id"]).code != 0

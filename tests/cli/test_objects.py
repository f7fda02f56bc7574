import io
import json
import re

import pytest

import padre_core as padre

HOSTILE = "\x1b]0;title\x07\x9b31m\u202eevil"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def standard_input(monkeypatch):
    def give(text):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return give


def test_ls_counts_what_there_is(command, runs):
    counts = command("ls", "--json").json[0]
    assert (counts["projects"], counts["runs"], counts["artifacts"]) == (1, 3, 3)
    assert "runs          3" in command("ls").out


def test_ls_lists_a_kind_by_its_name_or_folder(command, runs):
    for name in ("run", "runs"):
        assert [row["id"] for row in command("ls", name, "--json").json] == [run.id for run in runs]


def test_ls_takes_filter_order_limit_and_columns(command, runs):
    where = ["--where", "parameters.C < 5"]
    result = command("ls", "runs", *where, "--order-by=-parameters.C", "--limit", 1, "--columns", "name,title")
    assert result.out == "name   title\nrun-1\n"


def test_columns_tell_who_made_and_who_changed_an_object(command, workspace, monkeypatch):
    workspace.projects.put(padre.Project(name="iris"))
    with monkeypatch.context() as other:
        other.setenv("PADRE_USER", "grace")
        with padre.open("padre-store") as second:
            second.projects.put(padre.Project(name="iris", title="Iris"))
    result = command("ls", "projects", "--columns", "name,created_by,updated_by")
    assert result.out.splitlines()[1].split() == ["iris", workspace.actor, "grace"]
    assert command("ls", "projects", "--json").json[0]["updated_by"] == "grace"


@pytest.mark.parametrize(
    ("columns", "hint"), [("name,createdby", "did you mean 'created_by'"), ("accuracy", "metrics"), ("-name", "name")]
)
def test_a_column_that_no_object_of_the_kind_has_is_refused(command, columns, hint):
    command("init")
    result = command("ls", "runs", "--columns", columns)
    assert (result.code, result.out) == (2, "")
    assert "a run has no field" in result.err
    assert hint in result.err


def test_columns_are_named_as_in_filters(command, workspace):
    with workspace.start_run("iris/svc", parameters={"a,b": 1, "net": {"depth": 3}}) as run:
        run.log_metric("train/loss", 0.25)
    run = workspace.start_run("iris/svc")
    run.finish("failed")
    result = command(
        "search", "--columns", 'metrics."train/loss".last, parameters."a,b",parameters.net.depth,environment.nothing'
    )
    heading, values, empty = result.out.splitlines()
    assert heading.split() == [
        "metrics.train/loss.last",
        "parameters.a,b",
        "parameters.net.depth",
        "environment.nothing",
    ]
    assert values.split() == ["0.25", "1", "3"]
    assert empty == ""


def test_ls_looks_below_an_object(command, runs, workspace):
    workspace.start_run("iris/other").finish()
    assert len(command("ls", "runs", "--within", "iris/svc", "--json").json) == 3


def test_ls_of_nothing_prints_nothing_but_says_so_to_people(command, workspace):
    table, json = command("ls", "runs"), command("ls", "runs", "--json")
    assert (table.out, table.err) == ("", "no runs\n")
    assert (json.out, json.err) == ("", "")


@pytest.mark.parametrize("option", ["--where", "--order-by", "--columns"])
def test_ls_without_a_kind_ignores_no_option(command, workspace, option):
    result = command("ls", option, "name")
    assert result.code == 2
    assert "need a KIND, such as runs" in result.err


def test_search_finds_runs_and_shows_parameters_and_metrics(command, runs):
    result = command("search", "metrics.accuracy.last > 0.75", "--order-by=-metrics.accuracy.last")
    heading, first, second = result.out.splitlines()
    assert heading.split() == ["id", "name", "status", "parameters.C", "metrics.accuracy.last", "created_at"]
    assert first.split()[:5] == [runs[2].id, "run-2", "finished", "10", "0.9"]
    assert second.startswith(runs[1].id)


def test_show_tells_fields_and_metrics(command, runs):
    lines = dict(re.split(r":\s+", line, maxsplit=1) for line in command("show", runs[0].id).out.splitlines())
    assert (lines["kind"], lines["parameters.C"], lines["metrics.accuracy.last"]) == ("run", "0.1", "0.7")


def test_show_finds_by_id_path_and_url(command, runs, workspace):
    experiment = workspace.experiments.get("iris/svc")
    for reference in (experiment.id, "iris/svc", workspace.experiments.url(experiment)):
        assert command("show", reference, "--json").json[0]["id"] == experiment.id


def test_a_name_of_several_kinds_needs_the_kind(command, workspace):
    workspace.projects.put(padre.Project(name="digits"))
    workspace.datasets.put(padre.Dataset(name="digits"))
    result = command("show", "digits")
    assert result.code == 2
    assert "--kind" in result.err
    assert command("show", "digits", "--kind", "dataset", "--json").json[0]["kind"] == "dataset"


def test_put_reads_json_from_a_file(command, tmp_path, workspace):
    (tmp_path / "experiment.json").write_text('{"kind": "experiment", "name": "svc", "project": "iris", "seed": 3}')
    assert command("put", "experiment.json").code == 0
    assert workspace.experiments.get("iris/svc").seed == 3


def test_put_reads_json_from_standard_input(command, standard_input, workspace):
    standard_input('{"name": "iris"}')
    assert command("put", "--kind", "project").out.startswith("project ")
    assert workspace.projects.get("iris")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"name": "iris"}', '{"kind": "project", "name": "iris", "colour": 1}']
)
def test_put_refuses_what_is_no_object(command, standard_input, workspace, text):
    standard_input(text)
    result = command("put")
    assert result.code == 2
    assert result.err.startswith("padre: ")
    assert workspace.projects.count() == 0


def test_put_refuses_a_kind_that_the_json_contradicts(command, standard_input, workspace):
    standard_input('{"kind": "project", "name": "iris"}')
    result = command("put", "--kind", "dataset")
    assert result.code == 2
    assert "says that it is a project" in result.err
    assert workspace.datasets.count() == 0
    standard_input('{"kind": "project", "name": "iris"}')
    assert command("put", "--kind", "projects").code == 0


def test_put_refuses_an_etag_that_belongs_to_no_id(command, standard_input, workspace):
    standard_input('{"kind": "project", "name": "iris", "etag": "1-aaaaaaaaaaaaaaaa"}')
    assert command("put").code == 2
    assert workspace.projects.count() == 0


def test_what_get_wrote_can_be_edited_and_put(command, runs, tmp_path, workspace):
    written = json.loads(command("get", "iris/svc").out)
    (tmp_path / "edited.json").write_text(json.dumps(written | {"title": "New"}))
    assert command("put", "edited.json", "--json").json[0]["etag"].startswith("2-")
    assert workspace.experiments.get("iris/svc").title == "New"


def test_an_edit_of_what_changed_meanwhile_is_refused(command, runs, tmp_path, workspace):
    (tmp_path / "edited.json").write_text(command("get", "iris/svc").out)
    workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="Theirs"))
    result = command("put", "edited.json")
    assert result.code == 4
    assert "get it again" in result.err


def test_put_stores_a_file_as_an_artifact(command, runs, tmp_path, workspace):
    (tmp_path / "notes.md").write_text("hello")
    assert command("put", "notes.md", "--to", "iris/svc").code == 0
    assert command("put", "notes.md", "--to", runs[0].id, "--path", "docs/notes.md").code == 0
    (artifact,) = workspace.artifacts.list('path == "docs/notes.md"')
    assert artifact.owner == runs[0].id
    assert workspace.artifacts.read(artifact) == b"hello"
    assert workspace.artifacts.count('path == "notes.md"') == 1


def test_put_stores_standard_input_under_a_path(command, runs, standard_input, workspace):
    standard_input("hello")
    assert command("put", "--to", runs[0].id).code == 2
    assert command("put", "--to", runs[0].id, "--path", "notes.md").code == 0
    assert workspace.artifacts.count('path == "notes.md"') == 1


def test_put_of_a_missing_file_is_a_usage_error(command):
    assert command("put", "nothing.json").code == 2


def test_get_downloads_all_artifacts_of_an_object(command, runs, tmp_path):
    assert command("get", runs[0].id, "--to", "out").code == 0
    assert (tmp_path / "out" / "models" / "model.txt").read_text() == "weights"


def test_get_downloads_one_artifact(command, runs, tmp_path, workspace):
    artifact = next(iter(workspace.artifacts.list()))
    assert command("get", artifact.id, "--to", "out", "--json").json == [["out/models/model.txt"]]
    assert (tmp_path / "out" / "models" / "model.txt").exists()


def test_rm_hides_and_restore_brings_back(command, runs):
    assert command("rm", runs[0].id, runs[1].id).out == "deleted 2 of 2\n"
    assert command("show", runs[0].id).code == 3
    assert [row["id"] for row in command("ls", "runs", "--deleted", "--json").json] == [runs[0].id, runs[1].id]
    assert command("restore", runs[0].id).code == 0
    assert command("show", runs[0].id).code == 0


def test_rm_of_what_is_not_there_deletes_nothing(command, runs, workspace):
    assert command("rm", runs[0].id, "iris/nothing").code == 3
    assert workspace.runs.count() == 3


@pytest.fixture
def hostile(workspace):
    with workspace.start_run("iris/svc", parameters={"text": HOSTILE}, tags={"t": HOSTILE}) as run:
        run.log(HOSTILE)
    workspace.experiments.put(padre.Experiment(name="svc", project="iris", title=HOSTILE, description=HOSTILE))
    return run.object


def test_no_control_character_of_a_stored_text_reaches_the_terminal(command, hostile):
    for arguments in (
        ["ls", "runs"], ["ls", "runs", "--json"], ["search"], ["show", hostile.id], ["show", "iris/svc"],
        ["get", "iris/svc"], ["log", hostile.id], ["log", hostile.id, "--json"], ["ls", "experiments", "--json"],
        ["show", f"nothing{HOSTILE}"], ["search", f"name == {HOSTILE}"],
    ):  # fmt: skip
        result = command(*arguments)
        assert not CONTROL.search(result.out + result.err), arguments


def test_escaped_text_reads_back_from_json(command, hostile):
    assert command("ls", "runs", "--json").json[0]["parameters.text"] == HOSTILE
    assert command("log", hostile.id, "--json").json[0]["text"] == HOSTILE


def test_markup_is_text(command, workspace):
    workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="[red]x[/red]"))
    assert "[red]x[/red]" in command("ls", "experiments", "--columns", "title").out


def test_a_download_of_what_has_no_artifacts_says_so(command, runs, tmp_path):
    result = command("get", "iris/svc", "--to", tmp_path / "here")
    assert result.code == 3
    assert "has no artifacts" in result.err


def test_a_name_that_was_deleted_says_how_to_bring_it_back(command, runs, workspace):
    project = workspace.projects.get("iris")
    workspace.projects.delete(project)
    assert f"`padre restore {project.id}`" in command("show", "iris").err


def test_a_url_of_a_web_server_says_how_a_store_there_is_named(command, workspace):
    result = command("ls", "--store", "http://127.0.0.1:1")
    assert result.code == 8
    assert "padre+http://" in result.err


def test_what_was_deleted_is_brought_back_by_its_name(command, runs):
    assert command("rm", "iris/svc").code == 0
    told = command("show", "iris/svc")
    assert told.code == 3
    assert "was deleted; bring it back with" in told.err
    assert command("restore", "iris/svc").code == 0
    assert command("show", "iris/svc").code == 0


def test_a_deleted_name_of_two_kinds_is_not_guessed(command, workspace):
    workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    workspace.datasets.put(padre.Dataset(name="svc", version="1", project="iris"))
    assert command("rm", "iris/svc", "--kind", "experiment").code == 0
    assert command("rm", "iris/svc", "--kind", "dataset").code == 0
    told = command("restore", "iris/svc")
    assert told.code == 3
    assert "the experiment 'svc'" in told.err
    assert "the dataset 'svc'" in told.err
    assert command("restore", "iris/svc", "--kind", "dataset").code == 0


def test_a_store_without_history_says_which_has_one(command, runs):
    told = command("history", "iris/svc")
    assert told.code == 7
    assert "a git repository keeps all" in told.err

import pytest

import padre_core as padre


def test_an_object_is_found_by_id_name_path_url_and_itself(workspace):
    experiment = workspace.experiments.put(padre.Experiment(name="svc", project="vision/digits"))
    for way in (experiment, experiment.id, "vision/digits/svc", workspace.experiments.url(experiment)):
        assert workspace.experiments.get(way).id == experiment.id


def test_an_object_is_found_by_an_equal_one_that_was_never_put(workspace):
    code = workspace.codes.put(padre.Code(type="command", command=("train",)))
    assert workspace.codes.get(padre.Code(type="command", command=("train",))).id == code.id


def test_what_is_returned_carries_the_version_outside_the_content(workspace):
    put = workspace.projects.put(padre.Project(name="iris"))
    got = workspace.projects.get("iris")
    assert (got.etag, got.deleted, got.stale, got.conflicts, got.remotes) == (put.etag, False, False, (), {})
    assert got.content() == b'{"name":"iris"}'


def test_values_survive_unchanged(workspace, execution):
    parameters = {
        "nan": float("nan"), "inf": float("inf"), "big": 2**63 - 1, "small": -(2**63), "empty": "", "unicode": "Ω≠𝄞",
        "nested": {"list": [1, 2.5, None, True]},
    }  # fmt: skip
    run = workspace.runs.put(padre.Run(execution=execution, parameters=parameters))
    stored = workspace.runs.get(run.id).parameters
    assert stored.pop("nan") != stored.get("nan")
    del parameters["nan"]
    assert stored == parameters


@pytest.mark.parametrize("way", ["none", "none/svc", "00000000-0000-5000-8000-000000000000"])
def test_what_is_not_there_is_said_so(workspace, way):
    workspace.projects.put(padre.Project(name="iris"))
    with pytest.raises(padre.NotFoundError, match="has no"):
        workspace.projects.get(way)


def test_an_experiment_needs_its_project_in_its_path(workspace):
    with pytest.raises(padre.InvalidObjectError, match="project/name"):
        workspace.experiments.get("svc")


@pytest.mark.parametrize("path", ["", "a//b", "/a", "a/", "a\nb/c", "../x"])
def test_a_malformed_path_is_refused(workspace, path):
    with pytest.raises(padre.InvalidObjectError):
        workspace.experiments.get(path)


def test_a_kind_without_names_is_not_found_by_path(workspace):
    with pytest.raises(padre.InvalidObjectError, match="no name path"):
        workspace.runs.get("iris/svc")


def test_the_url_of_another_store_says_to_open_that(workspace):
    with pytest.raises(padre.NotFoundError, match="open its own store"):
        workspace.projects.get("https://lab.example.org/v1/projects/x")


def test_the_url_of_another_store_never_shows_a_password(workspace):
    with pytest.raises(padre.NotFoundError) as caught:
        workspace.projects.get("https://ada:secret@lab.example.org/v1/projects/x")
    assert "secret" not in str(caught.value)


def test_the_url_of_another_kind_is_refused(workspace):
    project = workspace.projects.put(padre.Project(name="iris"))
    with pytest.raises(padre.InvalidObjectError, match="not the URL of an experiment"):
        workspace.experiments.get(workspace.projects.url(project))


def test_a_dataset_is_found_by_name_in_its_newest_version(workspace):
    workspace.datasets.put(padre.Dataset(name="digits", version="1"))
    second = workspace.datasets.put(padre.Dataset(name="digits", version="2"))
    inside = workspace.datasets.put(padre.Dataset(name="digits", version="3", project="iris"))
    assert workspace.datasets.get("digits").id == second.id
    assert workspace.datasets.get("iris/digits").id == inside.id


def test_names_are_the_same_however_their_letters_are_composed(workspace):
    put = workspace.datasets.put(padre.Dataset(name="Stra\u00dfe e\u0301", project="a\u0308"))
    assert workspace.datasets.get("\u00e4/Stra\u00dfe \u00e9").id == put.id
    assert workspace.datasets.get("a\u0308/Stra\u00dfe e\u0301").id == put.id


def test_a_refresh_that_is_required_needs_a_remote(workspace):
    workspace.projects.put(padre.Project(name="iris"))
    with pytest.raises(padre.UnsupportedError, match="no remote"):
        workspace.projects.get("iris", refresh="required")
    assert workspace.projects.get("iris", refresh="never").name == "iris"


def test_history_is_refused_where_the_store_keeps_none(workspace):
    workspace.projects.put(padre.Project(name="iris"))
    with pytest.raises(padre.UnsupportedError, match="history"):
        workspace.projects.history("iris")


def test_a_put_to_a_remote_that_there_is_not_stores_nothing(workspace):
    with pytest.raises(padre.UnsupportedError, match="no remote 'lab'"):
        workspace.projects.put(padre.Project(name="iris"), remote="lab")
    assert workspace.projects.count() == 0


def test_the_url_of_an_object_is_for_its_backend_to_say(workspace):
    project = workspace.projects.put(padre.Project(name="vision"))
    url = workspace.backend.object_url("project", project.id)
    assert workspace.projects.url(project) == url
    assert workspace.backend.object_at(url) == ("projects", project.id)
    assert workspace.backend.object_at(f"file:///elsewhere#projects/{project.id}") is None

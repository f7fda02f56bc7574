import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest

import padre_core as padre


def test_putting_gives_an_object_its_id_version_and_stamps(workspace):
    project = padre.Project(name="iris")
    returned = workspace.projects.put(project)
    assert returned is project
    assert project.id is not None
    assert project.etag.startswith("1-")
    assert project.created_by == project.updated_by == "ada"
    assert project.created_at == project.updated_at
    assert project.created_at.utcoffset().total_seconds() == 0


def test_two_stores_give_one_name_the_same_id(new_url):
    with padre.open(new_url()) as one, padre.open(new_url()) as other:
        first = one.experiments.put(padre.Experiment(name="svc", project="iris"))
        second = other.experiments.put(padre.Experiment(name="svc", project="iris"))
    assert (first.id, first.etag) == (second.id, second.etag)


def test_missing_parents_that_are_named_are_made(workspace):
    experiment = workspace.experiments.put(padre.Experiment(name="svc", project="vision/digits"))
    project = workspace.projects.get("vision/digits")
    assert experiment.project == project.id
    assert experiment.ancestors == (workspace.projects.get("vision").id, project.id)


def test_a_placeholder_is_superseded_by_what_is_put_later(workspace):
    workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    project = workspace.projects.put(padre.Project(name="iris", title="Irises"))
    assert workspace.projects.get("iris").title == "Irises"
    assert project.etag.startswith("2-")


def test_putting_the_same_again_makes_no_revision(workspace):
    first = workspace.experiments.put(padre.Experiment(name="svc", project="iris", seed=1))
    second = workspace.experiments.put(padre.Experiment(name="svc", project="iris", seed=1))
    assert second.etag == first.etag
    assert second.updated_at == first.updated_at
    assert workspace.experiments.put(second).etag == first.etag


def test_an_unread_object_sets_only_the_fields_that_were_given(workspace):
    workspace.experiments.put(padre.Experiment(name="svc", project="iris", seed=1, tags={"a": "1"}))
    changed = workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="SVC"))
    assert (changed.seed, changed.title, changed.tags) == (1, "SVC", {"a": "1"})


def test_an_unread_object_sets_a_field_back_when_told_so(workspace):
    workspace.experiments.put(padre.Experiment(name="svc", project="iris", seed=1))
    workspace.experiments.put(padre.Experiment(name="svc", project="iris", seed=None))
    assert workspace.experiments.get("iris/svc").seed is None


def test_an_unread_object_sets_what_was_put_into_its_dicts(workspace):
    workspace.projects.put(padre.Project(name="iris"))
    again = padre.Project(name="iris")
    again.tags["stage"] = "final"
    workspace.projects.put(again)
    assert workspace.projects.get("iris").tags == {"stage": "final"}


def test_a_read_object_replaces_what_was_read(workspace):
    workspace.projects.put(padre.Project(name="iris", title="a", tags={"x": "1"}))
    project = workspace.projects.get("iris")
    project.title, project.tags = None, {}
    workspace.projects.put(project)
    stored = workspace.projects.get("iris")
    assert (stored.title, stored.tags) == (None, {})
    assert stored.etag.startswith("2-")


def test_a_stale_object_is_refused_and_nothing_is_stored(workspace):
    workspace.projects.put(padre.Project(name="iris"))
    mine, theirs = workspace.projects.get("iris"), workspace.projects.get("iris")
    theirs.title = "theirs"
    workspace.projects.put(theirs)
    mine.title = "mine"
    with pytest.raises(padre.ConflictError, match="get it again"):
        workspace.projects.put(mine)
    assert workspace.projects.get("iris").title == "theirs"


def test_an_unchanged_stale_object_is_refused_too(workspace):
    project = workspace.projects.put(padre.Project(name="iris"))
    workspace.projects.put(padre.Project(name="iris", title="new"))
    with pytest.raises(padre.ConflictError, match="get it again"):
        workspace.projects.put(project)


def test_a_stale_object_is_refused_even_if_its_change_was_made_once(workspace):
    stale = workspace.projects.put(padre.Project(name="iris"))
    for title in ("one", "two"):
        workspace.projects.put(padre.Project(name="iris", title=title))
    stale.title = "one"
    with pytest.raises(padre.ConflictError, match="get it again"):
        workspace.projects.put(stale)
    assert workspace.projects.get("iris").title == "two"


def test_a_refused_object_keeps_what_the_user_set(workspace):
    project = workspace.projects.put(padre.Project(name="iris"))
    workspace.projects.put(padre.Project(name="iris", title="new"))
    project.title = "mine"
    with pytest.raises(padre.ConflictError):
        workspace.projects.put(project)
    assert project.title == "mine"


def test_a_name_never_changes(workspace):
    project = workspace.projects.put(padre.Project(name="iris"))
    project.name = "rose"
    with pytest.raises(padre.InvalidObjectError, match="never changes"):
        workspace.projects.put(project)
    assert workspace.projects.count() == 1


def test_a_parent_never_changes_by_put(workspace):
    experiment = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    workspace.projects.put(padre.Project(name="rose"))
    experiment.project = "rose"
    with pytest.raises(padre.InvalidObjectError, match="project never changes"):
        workspace.experiments.put(experiment)


def test_the_name_of_a_run_is_a_label_and_may_change(workspace, run):
    run.name = "best"
    workspace.runs.put(run)
    assert workspace.runs.get(run.id).name == "best"


def test_frozen_fields_are_refused_with_the_way_out(workspace):
    workspace.datasets.put(padre.Dataset(name="digits", version="1", origin="here"))
    with pytest.raises(padre.AlreadyExistsError, match="origin"):
        workspace.datasets.put(padre.Dataset(name="digits", version="1", origin="there"))
    read = workspace.datasets.get("digits")
    read.origin = "there"
    with pytest.raises(padre.AlreadyExistsError, match="origin"):
        workspace.datasets.put(read)


def test_the_description_of_a_frozen_object_may_change(workspace):
    workspace.datasets.put(padre.Dataset(name="digits", version="1", origin="here"))
    workspace.datasets.put(padre.Dataset(name="digits", version="1", title="Digits"))
    stored = workspace.datasets.get("digits")
    assert (stored.title, stored.origin) == ("Digits", "here")


def test_the_same_code_is_the_same_execution(workspace, execution):
    code = workspace.codes.put(padre.Code(type="command", command=("train",)))
    again = workspace.executions.put(padre.Execution(experiment="iris/svc", code=code))
    assert again.id == execution.id
    assert workspace.executions.count() == 1


def test_each_run_is_a_new_one(workspace, execution):
    runs = [workspace.runs.put(padre.Run(execution=execution)) for _ in range(3)]
    assert len({run.id for run in runs}) == 3


def test_a_parent_given_by_id_must_exist(workspace):
    missing = "00000000-0000-5000-8000-000000000000"
    with pytest.raises(padre.NotFoundError, match="put the project first"):
        workspace.experiments.put(padre.Experiment(name="svc", project=missing))
    assert workspace.experiments.count() == 0


def test_a_parent_of_another_kind_is_refused(workspace, execution):
    with pytest.raises(padre.InvalidObjectError, match="the id of an experiment, not of an execution"):
        workspace.runs.put(padre.Run(execution=execution.experiment))


def test_an_execution_needs_code_that_exists(workspace, execution):
    with pytest.raises(padre.InvalidObjectError, match="the id of an execution, not of a code"):
        workspace.executions.put(padre.Execution(experiment="iris/svc", code=execution.id))


def test_a_run_needs_a_parent_run_that_exists(workspace, execution, run):
    child = workspace.runs.put(padre.Run(execution=execution, parent=run))
    assert child.parent == run.id
    with pytest.raises(padre.PadreError, match="run"):
        workspace.runs.put(padre.Run(execution=execution, parent=execution.id))


def test_an_object_of_another_kind_is_refused(workspace):
    with pytest.raises(padre.InvalidObjectError, match=r"projects\.put takes a project, not a code"):
        workspace.projects.put(padre.Code(type="command"))


def test_an_invented_id_is_refused(workspace):
    with pytest.raises(padre.InvalidObjectError, match=r"project\.id"):
        workspace.projects.put(padre.Project(name="iris", id="00000000-0000-5000-8000-000000000000"))


@pytest.mark.parametrize("tags", [{"a": 1}, {"": "x"}, {"a\nb": "x"}, {1: "x"}])
def test_what_was_put_into_a_dict_past_validation_is_refused(workspace, tags):
    project = padre.Project(name="iris")
    project.tags.update(tags)
    with pytest.raises(padre.InvalidObjectError, match="tags"):
        workspace.projects.put(project)
    assert workspace.projects.count() == 0


def test_what_is_no_json_is_refused_with_its_place(workspace, execution):
    run = padre.Run(execution=execution)
    run.parameters["model"] = object()
    with pytest.raises(padre.InvalidObjectError, match=r"parameters\.model"):
        workspace.runs.put(run)
    assert workspace.runs.count() == 0


def test_a_path_of_too_many_names_is_refused(workspace):
    with pytest.raises(padre.InvalidObjectError, match="more than 32 names"):
        workspace.experiments.put(padre.Experiment(name="svc", project="/".join("a" * 40)))
    assert workspace.projects.count() == 0


def test_unread_objects_of_many_threads_lose_no_field(workspace):
    fields = ["title", "description", "seed", "pipeline", "configuration", "hyperparameters", "domain", "datasets"]
    values = ["t", "d", 7, {"a": 1}, {"b": 2}, {"c": 3}, {"d": 4}, ("e",)]

    def put(field, value):
        workspace.experiments.put(padre.Experiment(name="svc", project="iris", **{field: value}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, fields, values))
    stored = workspace.experiments.get("iris/svc")
    assert [getattr(stored, field) for field in fields] == values


def _put_tag(url, number):
    with padre.open(url, durability="process") as workspace:
        for step in range(5):
            while True:
                project = workspace.projects.get("iris")
                project.tags = {**project.tags, f"{number}-{step}": "x"}
                try:
                    workspace.projects.put(project)
                except padre.ConflictError:
                    continue
                break


def test_read_objects_of_many_processes_lose_no_update(tmp_path):
    url = (tmp_path / "store").as_uri()
    with padre.open(url) as workspace:
        workspace.projects.put(padre.Project(name="iris"))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_put_tag, args=(url, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with padre.open(url) as workspace:
        assert len(workspace.projects.get("iris").tags) == 40


def _create(url, rounds, barrier):
    with padre.open(url, durability="process") as workspace:
        for number in range(rounds):
            barrier.wait(60)
            workspace.experiments.put(padre.Experiment(name="svc", project=f"p{number}", seed=number))


def test_processes_that_create_one_experiment_at_once_make_one(tmp_path):
    url = (tmp_path / "store").as_uri()
    padre.open(url).close()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(6)
    processes = [context.Process(target=_create, args=(url, 200, barrier)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    with padre.open(url) as workspace:
        assert workspace.projects.count() == workspace.experiments.count() == 200
        assert {experiment.etag[:2] for experiment in workspace.experiments.list()} == {"1-"}


def test_an_execution_whose_code_was_deleted_can_be_described(workspace, execution):
    workspace.codes.delete(execution.code)
    execution.description = "with the code of May"
    assert workspace.executions.put(execution).description == "with the code of May"

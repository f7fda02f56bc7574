import pytest

import padre_core as padre


def names(listing):
    return [item.name for item in listing]


def test_a_deleted_object_is_not_found_and_the_way_back_is_offered(workspace):
    project = workspace.projects.put(padre.Project(name="iris"))
    assert workspace.projects.delete("iris") == 1
    for way in (project.id, "iris", project):
        with pytest.raises(padre.NotFoundError, match=r"workspace\.projects\.restore"):
            workspace.projects.get(way)
    assert workspace.projects.count() == 0
    assert names(workspace.projects.list(deleted=True)) == ["iris"]


def test_what_lies_below_is_hidden_and_comes_back(workspace, run):
    split = workspace.splits.put(padre.Split(run=run, number=0))
    workspace.projects.delete("iris")
    assert workspace.runs.count() == workspace.splits.count() == 0
    for service, object in ((workspace.runs, run), (workspace.splits, split)):
        with pytest.raises(padre.NotFoundError, match=r"hidden because .* was deleted.*projects\.restore"):
            service.get(object.id)
    workspace.projects.restore("iris")
    assert workspace.runs.get(run.id).id == run.id
    assert workspace.splits.get(split.id).etag == split.etag


def test_restore_brings_back_exactly_what_that_delete_hid(workspace):
    for name in ("a", "b"):
        workspace.experiments.put(padre.Experiment(name=name, project="iris"))
    workspace.experiments.delete("iris/a")
    workspace.projects.delete("iris")
    workspace.projects.restore("iris")
    assert names(workspace.experiments.list()) == ["b"]
    assert names(workspace.experiments.list(deleted=True)) == ["a"]


def test_deleting_twice_or_what_never_was_has_no_effect(workspace):
    project = workspace.projects.put(padre.Project(name="iris"))
    assert workspace.projects.delete(project.id) == 1
    assert workspace.projects.delete([project.id, "none", "00000000-0000-5000-8000-000000000000"]) == 0


def test_many_are_deleted_in_one_call(workspace, execution):
    runs = [workspace.runs.put(padre.Run(execution=execution)) for _ in range(20)]
    assert workspace.runs.delete(run for run in runs[:15]) == 15
    assert {run.id for run in workspace.runs.list()} == {run.id for run in runs[15:]}


def test_a_malformed_reference_among_many_deletes_nothing(workspace, execution):
    run = workspace.runs.put(padre.Run(execution=execution))
    with pytest.raises(padre.InvalidObjectError):
        workspace.runs.delete([run, "no id"])
    assert workspace.runs.count() == 1


def test_what_was_changed_since_it_was_read_is_deleted_only_by_force(workspace):
    project = workspace.projects.put(padre.Project(name="iris"))
    workspace.projects.put(padre.Project(name="iris", title="new"))
    with pytest.raises(padre.ConflictError, match="force=True"):
        workspace.projects.delete(project)
    assert workspace.projects.delete(project, force=True) == 1


def test_a_deleted_name_is_made_again_as_its_next_generation(workspace):
    first = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    workspace.projects.delete("iris")
    second = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    assert second.id != first.id
    assert workspace.projects.count() == workspace.experiments.count() == 1
    workspace.projects.delete("iris")
    third = workspace.projects.put(padre.Project(name="iris"))
    assert third.id not in (first.ancestors[0], second.ancestors[0])
    assert workspace.experiments.count() == 0


def test_an_object_in_a_run_has_generations_too(workspace, run):
    first = workspace.splits.put(padre.Split(run=run, number=0, train=[1]))
    workspace.splits.delete(first)
    second = workspace.splits.put(padre.Split(run=run, number=0, train=[2]))
    assert second.id.startswith(f"{run.id}-")
    assert second.id != first.id
    assert list(second.train) == [2]


def test_the_old_one_is_not_restored_while_its_name_lives(workspace):
    old = workspace.projects.put(padre.Project(name="iris"))
    workspace.projects.delete("iris")
    new = workspace.projects.put(padre.Project(name="iris"))
    for way in (old.id, "iris"):
        with pytest.raises(padre.ConflictError, match="delete the living one first"):
            workspace.projects.restore(way)
    workspace.projects.delete(new)
    assert workspace.projects.restore(old.id).id == old.id


def test_an_older_generation_that_lives_again_is_the_one_that_its_name_means(workspace):
    ids = []
    for _ in range(3):
        ids.append(workspace.projects.put(padre.Project(name="iris")).id)
        workspace.projects.delete("iris")
    workspace.projects.restore(ids[1])
    assert workspace.projects.get("iris").id == ids[1]
    assert workspace.projects.restore(workspace.projects.get("iris")).id == ids[1]
    assert workspace.projects.get(padre.Project(name="iris")).id == ids[1]
    assert workspace.experiments.put(padre.Experiment(name="svc", project="iris")).project == ids[1]
    assert workspace.projects.delete("iris") == 1
    assert workspace.projects.restore("iris").id == ids[2]


def test_restoring_what_is_there_returns_it(workspace):
    project = workspace.projects.put(padre.Project(name="iris"))
    assert workspace.projects.restore("iris").etag == project.etag


def test_restoring_what_never_was_is_not_found(workspace):
    with pytest.raises(padre.NotFoundError):
        workspace.projects.restore("none")


def test_what_lies_below_a_deleted_object_is_restored_after_it(workspace):
    workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    workspace.experiments.delete("iris/svc")
    workspace.projects.delete("iris")
    with pytest.raises(padre.ConflictError, match=r"first workspace\.projects\.restore"):
        workspace.experiments.restore("iris/svc")
    workspace.projects.restore("iris")
    assert workspace.experiments.restore("iris/svc").name == "svc"


def test_a_deleted_run_comes_back_by_its_id(workspace, run):
    workspace.runs.delete(run)
    restored = workspace.runs.restore(run.id)
    assert restored.parameters == {"C": 1.0}
    assert restored.etag.startswith("3-")


def test_nothing_is_put_below_a_deleted_parent_by_id(workspace, execution):
    workspace.experiments.delete("iris/svc")
    with pytest.raises(padre.ConflictError, match=r"workspace\.experiments\.restore"):
        workspace.runs.put(padre.Run(execution=execution))
    assert workspace.runs.count(deleted=True) == 0


def test_a_run_whose_experiment_was_deleted_can_still_end(workspace, run):
    workspace.experiments.delete("iris/svc")
    run.status = "failed"
    workspace.runs.put(run)
    workspace.experiments.restore("iris/svc")
    assert workspace.runs.get(run.id).status is padre.RunStatus.FAILED


def test_putting_a_read_object_that_was_deleted_offers_to_restore_it(workspace):
    project = workspace.projects.put(padre.Project(name="iris"))
    workspace.projects.delete("iris")
    project.title = "new"
    with pytest.raises(padre.ConflictError, match=r"deleted.*restore"):
        workspace.projects.put(project)


def test_the_modes_of_deleting(workspace):
    workspace.projects.put(padre.Project(name="iris"))
    with pytest.raises(padre.UnsupportedError, match="no remote"):
        workspace.projects.delete("iris", mode="remote")
    with pytest.raises(padre.InvalidObjectError, match="mode"):
        workspace.projects.delete("iris", mode="some")
    assert workspace.projects.delete("iris", mode="local") == 1


def test_what_is_no_object_is_refused(workspace):
    with pytest.raises(padre.InvalidObjectError, match="expected a project"):
        workspace.projects.delete(5)

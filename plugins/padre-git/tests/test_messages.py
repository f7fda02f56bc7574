"""What `git log`, `git show` and `git diff` tell a human, and the trailers a program."""

import pytest

import padre_core as padre

from .by_hand import git


@pytest.fixture
def repository(tmp_path):
    return tmp_path / "lab.git"


@pytest.fixture
def lab(repository, monkeypatch):
    monkeypatch.setenv("PADRE_USER", "ada")
    with padre.open(f"git+{repository.as_uri()}", linger=1000) as workspace:
        yield workspace


def message(repository):
    return git(repository, "log", "-1", "--format=%B", "padre")


def trailers(repository):
    parsed = git(repository, "interpret-trailers", "--parse", data=message(repository).encode())
    return [tuple(line.split(": ", 1)) for line in parsed.splitlines()]


def committed(lab, repository):
    lab.backend.fold()
    return message(repository).splitlines()


def test_a_commit_of_one_change_says_in_one_line_what_it_did_and_in_trailers_who_and_to_what(lab, repository):
    run = lab.start_run("iris/svc", name="seed-0")
    run.finish()
    lab.backend.fold()
    lab.runs.put(padre.Run(id=run.id, name="seed-0", tags={"best": "yes"}, execution=lab.runs.get(run.id).execution))
    assert committed(lab, repository)[0].startswith("Update run seed-0 of iris/svc (")
    assert trailers(repository) == [("Padre-Actor", "ada"), ("Padre-Object", f"run {run.id}")]


def test_a_commit_of_its_own_for_each_run_speaks_of_no_other_run(repository):
    with padre.open(f"git+{repository.as_uri()}", linger=0) as lab:
        for seed in range(3):
            lab.start_run("iris/svc", name=f"seed-{seed}").finish()
    told = git(repository, "log", "--reverse", "--format=%s", "padre").splitlines()
    assert told[-2:] == ["Finish run seed-1 of iris/svc", "Finish run seed-2 of iris/svc"]


def test_a_commit_of_what_a_run_logged_meanwhile_says_so(lab, repository):
    with lab.start_run("iris/svc", name="seed-0") as run:
        lab.backend.fold()
        run.log_metric("loss", 0.5)
        assert committed(lab, repository)[0] == f"Log run {run.id}"
        run.log_metric("loss", 0.25)


def test_a_commit_of_many_changes_counts_them_and_lists_each(lab, repository):
    for seed in range(3):
        lab.start_run("iris/svc", name=f"seed-{seed}").finish()
    lines = committed(lab, repository)
    assert lines[0].startswith("Finish 3 runs of iris/svc")
    assert {f"- finish run seed-{seed} of iris/svc" for seed in range(3)} <= {*lines}
    assert "- add experiment iris/svc" in lines
    assert len([key for key, _ in trailers(repository) if key == "Padre-Object"]) == len(lines[2 : lines.index("", 2)])


def test_a_delete_and_a_restore_are_called_so(lab, repository):
    lab.projects.put(padre.Project(name="iris"))
    lab.backend.fold()
    lab.projects.delete("iris")
    assert committed(lab, repository)[0] == "Delete project iris"
    lab.projects.restore("iris")
    assert committed(lab, repository)[0] == "Restore project iris"


def test_a_diff_marks_the_field_that_changed(lab, repository):
    lab.experiments.put(padre.Experiment(name="svc", project="iris", title="one"))
    lab.backend.fold()
    lab.experiments.put(padre.Experiment(name="svc", project="iris", title="two"))
    lab.backend.fold()
    shown = git(repository, "show", "--format=", "--word-diff=plain", "--word-diff-regex=[^,{}]+", "padre")
    assert '[-"title":"one"-]{+"title":"two"+}' in shown
    assert git(repository, "diff", "--stat", "padre~1", "padre").count("experiments/") == 1


def test_what_users_named_is_no_trailer(lab, repository):
    lab.start_run("iris/svc", name="Padre-Actor: eve").finish()
    lab.start_run("iris/svc", name="other").finish()
    assert "- finish run Padre-Actor: eve of iris/svc" in committed(lab, repository)
    assert [value for key, value in trailers(repository) if key == "Padre-Actor"] == ["ada"]

import pytest

import padre_core as padre


class Watching:
    """An extension that notes what was changed, and allows no edit once it is switched on."""

    def __init__(self):
        self.on = False
        self.changed = []

    @padre.hookimpl
    def padre_object_changed(self, event):
        self.changed.append((event.action, event.record.etag))

    @padre.hookimpl(wrapper=True)
    def padre_experiment_update(self, request):
        if self.on:
            raise padre.AccessDeniedError("nobody may decide this")
        return (yield)


@pytest.fixture
def extension():
    return Watching()


@pytest.fixture
def here(new_url, extension):
    """A store without remotes, into which another was copied that had changed the same field."""
    with padre.open(new_url(), remotes={}, extensions=[extension]) as here, padre.open(new_url(), remotes={}) as there:
        here.experiments.put(padre.Experiment(name="svc", project="iris"))
        padre.copy(here, there)
        for workspace, text in ((here, "ours"), (there, "theirs")):
            experiment = workspace.experiments.get("iris/svc")
            experiment.description = text
            workspace.experiments.put(experiment)
        padre.copy(there, here)
        yield here


def test_conflicts_are_listed_and_decided_without_remotes(here):
    (found,) = here.conflicts()
    ((other, fields),) = found.fields.items()
    assert fields == ("description",)
    lost = here.experiments.get("iris/svc")
    solved = here.resolve("iris/svc", keep=other)
    assert {lost.description, solved.description} == {"ours", "theirs"}
    assert list(here.conflicts()) == []
    assert here.experiments.get("iris/svc").conflicts == ()


def test_a_decision_passes_the_hooks_like_any_other_edit(here, extension):
    extension.on = True
    with pytest.raises(padre.AccessDeniedError):
        here.resolve("iris/svc")
    assert len(list(here.conflicts())) == 1


def test_subscribers_are_told_of_a_decision(here, extension):
    extension.changed.clear()
    solved = here.resolve("iris/svc")
    assert extension.changed == [("update", solved.etag)]


def test_a_reader_may_list_conflicts_and_not_decide_them(here, new_url):
    copied = new_url()
    padre.copy(here, copied)
    with padre.open(copied, readonly=True) as reader:
        assert len(list(reader.conflicts())) == 1
        with pytest.raises(padre.ReadOnlyError):
            reader.resolve("iris/svc")

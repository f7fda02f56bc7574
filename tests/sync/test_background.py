"""Syncing behind a program's back."""

import time

from padre_core.errors import UnavailableError
from padre_core.sync import Background

from .sides import edited, engine, find, memory, project, put
from .wire import Fate, Wire


class Sometimes(Wire):
    away = True

    def _call(self, name, *args, **options):
        if self.away:
            raise UnavailableError("the network is away")
        return super()._call(name, *args, **options)


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


def test_what_is_written_is_shipped_soon():
    one, remote = memory(), memory()
    background = Background(engine(one, ("lab", remote)), pause=0.01)
    put(one, project())
    background.wrote()
    until(lambda: find(remote, project()))
    put(one, edited(find(one, project()), title="t"))
    background.wrote()
    until(lambda: find(remote, project()).data().get("title") == "t")
    assert background.close(deadline=20)


def test_the_rest_is_shipped_on_closing():
    one, remote = memory(), memory()
    background = Background(engine(one, ("lab", remote)), pause=30)
    put(one, project())
    background.wrote()
    until(lambda: find(remote, project()))
    put(one, project("last"))
    background.wrote()
    assert background.close(deadline=20)
    assert find(remote, project("last"))


def test_a_remote_that_is_away_holds_nobody_up_and_gets_all_when_it_is_back():
    one, remote = memory(), memory()
    wire = Sometimes(remote, Fate(), network=True)
    background = Background(engine(one, ("lab", wire)), pause=0.01)
    put(one, project())
    began = time.monotonic()
    background.wrote()
    assert time.monotonic() - began < 0.5
    time.sleep(0.05)
    wire.away = False
    until(lambda: find(remote, project()))
    assert background.close(deadline=20)


def test_closing_says_that_something_waits_while_a_remote_is_away():
    one, remote = memory(), memory()
    background = Background(engine(one, ("lab", Sometimes(remote, Fate(), network=True))), pause=0.01)
    put(one, project())
    background.wrote()
    assert not background.close(deadline=1)
    assert find(one, project())


def test_manual_remotes_are_left_alone():
    one, remote = memory(), memory()
    background = Background(engine(one, ("lab", remote), auto=False), pause=0.01)
    put(one, project())
    background.wrote()
    assert background.close(deadline=1)
    assert find(remote, project()) is None

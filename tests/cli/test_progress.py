"""Bars for work that nobody asked for by name."""

import io

import pytest

from padre_core.cli import progress
from padre_core.progress import telling, watched


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Opens one; not before the test itself runs, for pytest sets streams of its own between the phases."""

    def opened():
        shown = Terminal()
        monkeypatch.setattr("sys.stderr", shown)
        monkeypatch.setenv("TERM", "xterm")
        return shown

    return opened


def work():
    with telling() as tell:
        tell("filling the index", 1, 2)
        tell("filling the index", 2, 2)


def test_work_that_nobody_watches_is_told_to_nobody(terminal):
    shown = terminal()
    work()
    assert not shown.getvalue()


def test_work_that_takes_a_while_shows_a_bar(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with watched(progress.patient_bar):
        work()
    assert "filling the index" in shown.getvalue()


def test_work_that_is_done_at_once_shows_none(terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setattr(progress, "PATIENCE", 3600.0)
    with watched(progress.patient_bar):
        work()
    assert not shown.getvalue()


def test_no_bar_goes_where_nobody_looks(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with watched(progress.patient_bar):
        work()
    assert not shown.getvalue()


@pytest.mark.parametrize("asked", [progress.phase_bar, lambda: progress.byte_bar("Storing")])
def test_work_within_other_work_shares_its_bar(terminal, monkeypatch, asked):
    shown = terminal()
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with watched(progress.patient_bar), asked():
        work()  # a second bar beside the first may be an error of the terminal library
    assert ("filling the index" in shown.getvalue()) == (asked is progress.phase_bar)

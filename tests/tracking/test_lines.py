import logging

import pytest

import padre_core as padre
from padre_core.hookspecs import Logged, Progressed


@pytest.fixture
def run(workspace):
    with workspace.start_run("iris/svc") as run:
        yield run


def lines(workspace, run):
    if not run.ended:
        run.flush()
    return [(line.level, line.text) for line in workspace.runs.lines(run.id)]


def test_text_comes_back_in_order_with_its_level(workspace, run):
    run.log("first")
    run.log("second\nof two lines", "WARNING")
    assert lines(workspace, run) == [("INFO", "first"), ("WARNING", "second\nof two lines")]


@pytest.mark.parametrize("level", ["", "info", "PROGRESS", None])
def test_an_unknown_level_is_refused(run, level):
    with pytest.raises(padre.InvalidObjectError, match="DEBUG, INFO"):
        run.log("text", level)


@pytest.mark.parametrize("text", ["\ud800", None, b"bytes"])
def test_what_is_no_text_is_refused(run, text):
    with pytest.raises(padre.InvalidObjectError, match="not valid text"):
        run.log(text)


def test_too_much_text_is_refused_and_never_cut(workspace, run):
    with pytest.raises(padre.InvalidObjectError, match="artifacts"):
        run.log("x" * (2**20 + 1))
    assert lines(workspace, run) == []


def test_progress_is_followed_and_stays_with_the_ended_run(workspace, run):
    run.log_progress(1, 4, "folds")
    run.flush()
    assert workspace.runs.progress(run.id) == padre.Progress(current=1, total=4, phase="folds")
    run.log_progress(4, 4, "folds")
    run.finish()
    assert workspace.runs.get(run.id).progress == padre.Progress(current=4, total=4, phase="folds")
    assert lines(workspace, run) == []


def test_progress_makes_no_new_version(workspace, run):
    before = workspace.runs.get(run.id).etag
    run.log_progress(1, 4)
    assert workspace.runs.get(run.id).etag == before


@pytest.fixture
def logger():
    logger = logging.getLogger("training")
    logger.setLevel(1)
    yield logger
    logger.handlers.clear()


def test_a_handler_writes_what_is_logged_elsewhere(workspace, run, logger):
    logger.addHandler(padre.RunHandler(run))
    logger.info("epoch %d", 1)
    logger.error("no more data")
    assert lines(workspace, run) == [("INFO", "epoch 1"), ("ERROR", "no more data")]


@pytest.mark.parametrize(("number", "level"), [(5, "DEBUG"), (25, "INFO"), (60, "CRITICAL")])
def test_a_handler_writes_levels_between_the_standard_ones_as_the_one_below(workspace, run, logger, number, level):
    logger.addHandler(padre.RunHandler(run))
    logger.log(number, "text")
    assert lines(workspace, run) == [(level, "text")]


def test_a_handler_leaves_out_what_padre_logs(workspace, run):
    handler = padre.RunHandler(run)
    handler.handle(logging.makeLogRecord({"name": "padre_core.backends", "msg": "text", "levelno": 30}))
    assert lines(workspace, run) == []


def test_a_handler_of_an_ended_run_does_not_end_the_program(run, logger, capsys):
    logger.addHandler(padre.RunHandler(run))
    run.finish()
    logger.info("late")
    assert "has ended" in capsys.readouterr().err


def test_subscribers_hear_of_lines_and_progress(store):
    heard = []

    class Listener:
        @padre.hookimpl
        def padre_logged(self, event):
            heard.append(event)

        @padre.hookimpl
        def padre_progress(self, event):
            heard.append(event)

    with padre.open(store, extensions=[Listener()]) as workspace, workspace.start_run() as run:
        run.log("text", "ERROR")
        run.log_progress(1, 2, "folds")
    assert heard == [Logged(run.id, "ERROR", "text"), Progressed(1.0, 2.0, "folds", run.id)]

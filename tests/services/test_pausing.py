import gc
import os
import threading

import pytest

from padre_core.services.pausing import collector_paused


@pytest.fixture(autouse=True)
def collector():
    gc.enable()
    yield
    gc.enable()


def test_the_collector_pauses_within_the_block_only():
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_works_again_after_an_error():
    with pytest.raises(KeyError), collector_paused():
        raise KeyError
    assert gc.isenabled()


def test_a_collector_that_somebody_else_paused_stays_as_it_is():
    gc.disable()
    with collector_paused():
        pass
    assert not gc.isenabled()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_that_is_forked_by_another_thread_meanwhile_collects():
    paused, forked = threading.Event(), threading.Event()

    def page():
        with collector_paused():
            paused.set()
            forked.wait(10)

    thread = threading.Thread(target=page)
    thread.start()
    paused.wait(10)
    child = os.fork()
    if not child:
        os._exit(0 if gc.isenabled() else 1)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

import gc
import os
import threading

import pytest

from padre_core.pausing import _Pause, collector_paused


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
            forked.wait(300)

    thread = threading.Thread(target=page)
    thread.start()
    paused.wait(300)
    child = os.fork()
    if not child:
        os._exit(0 if gc.isenabled() else 1)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_many_objects_that_were_made_in_the_block_count_as_old_ones():
    gc.collect()
    with collector_paused():
        made = [[] for _ in range(20_000)]
    young = {id(object) for generation in (0, 1) for object in gc.get_objects(generation)}
    assert not young & {id(item) for item in made}


def test_garbage_is_found_when_much_was_made_in_blocks(monkeypatch):
    monkeypatch.setattr(_Pause, "made", 0)
    monkeypatch.setattr(_Pause, "awaited", 50_000)
    collected = []
    gc.collect()  # Python itself does so by and by, at a moment that depends on the tests before

    class Mark:
        def __del__(self):
            collected.append(1)

    with collector_paused():
        cycle = [Mark()]
        cycle.append(cycle)
        made = [[] for _ in range(20_000)]
    del cycle
    for _ in range(3):
        assert not collected
        with collector_paused():
            made.extend([] for _ in range(20_000))
        if collected:
            break
    assert collected


def test_objects_that_somebody_froze_stay_frozen():
    gc.freeze()
    try:
        with collector_paused():
            made = [[] for _ in range(20_000)]
        assert gc.get_freeze_count() > 0
        assert len(made) == 20_000
    finally:
        gc.unfreeze()

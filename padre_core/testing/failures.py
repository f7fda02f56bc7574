"""What a backend over a byte store makes of failing writes and lost answers."""

from __future__ import annotations

import io

import pytest

from padre_core.backends.backend import Backend
from padre_core.backends.bytestore import ABSENT, ByteStore
from padre_core.backends.store import ByteStoreBackend
from padre_core.errors import BackendError, UnavailableError
from padre_core.testing import samples
from padre_core.testing.bytestores import ByteStoreSuite, keys
from padre_core.testing.faults import Fault, FaultyStore

faults = pytest.mark.parametrize("fault", list(Fault), ids=[fault.name.lower() for fault in Fault])

RUN = samples.run()
WRITER = "0" * 16


def begin(backend: Backend) -> None:
    """A run."""
    backend.put(RUN)


def create(backend: Backend) -> None:
    """A first version."""
    backend.put(samples.project(), if_match=ABSENT)


def edit(backend: Backend) -> None:
    """A second version, from the first and not from what is there."""
    first = samples.project()
    backend.put(samples.edited(first, title="new"), if_match=first.etag)


def delete(backend: Backend) -> None:
    """A tombstone."""
    backend.put(samples.deleted(samples.edited(samples.project(), title="new"), "deletion-1"))


def log(backend: Backend) -> None:
    """Points and lines."""
    assert backend.append_stream(RUN.id, WRITER, 0, samples.points(20)) == 20


def blob(backend: Backend) -> None:
    """A blob."""
    backend.write_blob(io.BytesIO(b"blob" * 100))


STORY = (begin, create, edit, log, blob, delete)


class Failures(ByteStoreSuite, level="base"):
    """The story is told with a fault at every place in turn; whoever gets an error repeats the call."""

    @faults
    def test_a_call_that_failed_can_be_repeated_until_it_succeeds(self, store: ByteStore, fault: Fault) -> None:
        for place in range(1, 20):
            for key in keys(store):
                store.delete(key)
            faulty = FaultyStore(store, fail_at=place, fault=fault, times=1)
            backend = ByteStoreBackend(faulty, single_writer=True)
            for step in STORY:
                try:
                    step(backend)
                except UnavailableError:
                    step(backend)
            tombstone = backend.get("project", samples.project().id)
            assert (tombstone.revision, tombstone.deleted is not None, tombstone.conflicts) == (3, True, ())
            assert len(samples.points_by_writer(backend, RUN.id)[WRITER]) == 20
            assert len(list(backend.blobs())) == 1
            if not faulty.failed:
                return
        raise AssertionError("the story has more writes than expected")

    def test_what_was_there_is_readable_while_writes_fail(self, store: ByteStore) -> None:
        faulty = FaultyStore(store, fail_at=100, fault=Fault.REFUSED)
        backend = ByteStoreBackend(faulty, single_writer=True)
        backend.put(RUN)
        create(backend)
        log(backend)
        failing = ByteStoreBackend(FaultyStore(store, fail_at=1, fault=Fault.REFUSED), single_writer=True)
        for step in (edit, delete, blob):
            with pytest.raises(BackendError):
                step(failing)
        with pytest.raises(BackendError):
            failing.append_stream(RUN.id, WRITER, 20, samples.points(1, start=20))
        assert failing.get("project", samples.project().id) == backend.get("project", samples.project().id)
        assert len(samples.points_by_writer(failing, RUN.id)[WRITER]) == 20
        assert list(failing.blobs()) == []

"""The kit on `git+file://`, and on a clone of a repository behind a server."""

import uuid

import pytest

from padre_core.errors import ConflictError
from padre_core.testing import BackendTests, ByteStoreTests, replaces

from .by_hand import bare
from .git_server import serving

EQUAL = "a version is the id of a git blob, so equal bytes have equal versions, and to write them again is no change"


class TestGitStore(ByteStoreTests):
    @pytest.fixture
    def url(self, tmp_path):
        return f"git+{(tmp_path / 'store.git').as_uri()}"

    @replaces(EQUAL)
    def test_every_write_gives_a_version_that_was_not_there_before(self, store):
        versions = [store.write("key", data) for data in (b"one", b"one", b"two", b"three")]
        assert versions[0] == versions[1]
        assert len(set(versions)) == 3

    @replaces(EQUAL)
    def test_versions_do_not_come_back_after_opening_again(self, store, opening):
        versions = []
        for number in range(6):
            versions.append(store.write("key", b"%d" % number))
            opening.close(store)
            store = opening()
        assert len(set(versions)) == 6

    @replaces(EQUAL)
    def test_a_write_that_names_an_older_version_changes_nothing(self, store):
        older = store.write("key", b"first")
        newer = store.write("key", b"second")
        with pytest.raises(ConflictError):
            store.write("key", b"third", if_match=older)
        assert (store.read("key").data, store.read("key").version) == (b"second", newer)

    @replaces(EQUAL)
    def test_the_feed_tells_every_key_that_was_written_or_deleted(self, store):
        _, start = store.changes(None)
        store.write("one", b"1")
        store.write("folder/two", b"2")
        keys, first = store.changes(start)
        assert set(keys) == {"one", "folder/two"}
        store.delete("one")
        store.write("folder/two", b"3")
        store.write("folder/two", b"3")
        keys, second = store.changes(first)
        assert set(keys) == {"one", "folder/two"}
        assert store.changes(second) == ((), second)


class TestGitBackend(BackendTests):
    @pytest.fixture
    def url(self, tmp_path):
        return f"git+{(tmp_path / 'store.git').as_uri()}"

    @pytest.fixture
    def options(self):
        return {"durability": "process"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


class TestCloneBackend(BackendTests):
    """A clone, with a server at the other side: `if_match` and all else hold against the clone."""

    @pytest.fixture
    def url(self, server):
        name = f"{uuid.uuid4().hex}.git"
        bare(server.root / name)
        return f"{server.url}/{name}"

    @pytest.fixture
    def options(self, tmp_path):
        return {"durability": "process", "clone": str(tmp_path / "clone.git")}

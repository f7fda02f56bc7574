"""The kit on `file://`."""

import pytest

from padre_core.testing import BackendTests, ByteStoreTests


class TestFileStore(ByteStoreTests):
    @pytest.fixture
    def url(self, tmp_path):
        return (tmp_path / "store").as_uri()


class TestFileBackend(BackendTests):
    @pytest.fixture
    def url(self, tmp_path):
        return (tmp_path / "store").as_uri()

    @pytest.fixture
    def options(self):
        return {"durability": "process"}

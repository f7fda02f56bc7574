"""The kit on `git+file://`."""

import pytest

from padre_core.testing import BackendTests, ByteStoreTests


class TestGitStore(ByteStoreTests):
    @pytest.fixture
    def url(self, tmp_path):
        return f"git+{(tmp_path / 'store.git').as_uri()}"


class TestGitBackend(BackendTests):
    @pytest.fixture
    def url(self, tmp_path):
        return f"git+{(tmp_path / 'store.git').as_uri()}"

    @pytest.fixture
    def options(self):
        return {"durability": "process"}

import pytest

from padre_core.testing import ByteStoreTests


class TestSqliteStore(ByteStoreTests):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlitefile://{tmp_path}/lab.db"

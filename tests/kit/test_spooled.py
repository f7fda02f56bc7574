"""The kit on what core makes of a persistent byte store without a log folder: here the tutorial's."""

import pytest

from padre_core.testing import BackendTests, Budget


class TestSpooledBackend(BackendTests):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlitefile://{tmp_path}/lab.db"

    @pytest.fixture
    def budget(self):
        return Budget(examples=10, rounds=10)

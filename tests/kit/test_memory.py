"""The kit on `memory://`."""

import uuid

import pytest

from padre_core.testing import BackendTests, ByteStoreTests


class TestMemoryStore(ByteStoreTests):
    @pytest.fixture
    def url(self):
        return f"memory://{uuid.uuid4()}"


class TestMemoryBackend(BackendTests):
    @pytest.fixture
    def url(self):
        return f"memory://{uuid.uuid4()}"

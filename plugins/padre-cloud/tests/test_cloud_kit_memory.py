from __future__ import annotations

import pytest
from cloud_kit import serial

from padre_core.testing import BackendTests, ByteStoreTests


class _Memory:
    @pytest.fixture
    def url(self):
        return f"fsspec+memory://kit-{next(serial)}"


class TestMemoryBytes(_Memory, ByteStoreTests):
    pass


class TestMemory(_Memory, BackendTests):
    pass

from __future__ import annotations

import pytest
from cloud_kit import OfService

from padre_core.testing import ByteStoreTests, replaces


class TestGcsBytes(OfService, ByteStoreTests):
    @replaces("the emulator drops the connection when a range begins behind the end, where Google answers 416")
    @pytest.mark.parametrize(("start", "length", "expected"), [(0, 4, b"0123"), (8, 100, b"89"), (4, 0, b"")])
    def test_a_range_ends_where_the_bytes_end(self, store, start, length, expected):
        store.write("key", b"0123456789")
        assert store.read_range("key", start, length) == expected

    @pytest.fixture
    def service(self, gcs):
        return gcs

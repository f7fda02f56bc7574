from __future__ import annotations

import io

import pytest
from cloud_kit import OfFurtherService

from padre_core.testing import BackendTests, replaces


class TestGcs(OfFurtherService, BackendTests):
    @replaces("the emulator drops the connection when a range of no bytes is asked for, where Google answers 416")
    @pytest.mark.parametrize("data", [b"\0", b"text\n", bytes(range(256)) * 20_000], ids=len)
    def test_a_blob_comes_back_under_its_digest(self, backend, data):
        written = backend.write_blob(io.BytesIO(data))
        with backend.open_blob(written.digest) as file:
            assert file.read() == data

    @pytest.fixture
    def service(self, gcs):
        return gcs

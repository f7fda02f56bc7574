from __future__ import annotations

import itertools

import pytest

from padre_core.testing import BackendTests, Budget, ByteStoreTests, replaces

_serial = itertools.count()

MIB = 1024 * 1024


class _OfService:
    """Opens stores on a server; the subclass says on which."""

    @pytest.fixture
    def url(self, service):
        return service.fresh()

    @pytest.fixture
    def options(self, service):
        return service.options

    @pytest.fixture
    def budget(self):
        # Up to four parts of 8 MiB and their copies are on their way at once.
        return Budget(rounds=8, examples=4, steps=15, large=288 * MIB)


class _S3(_OfService):
    @pytest.fixture
    def service(self, ministack):
        return ministack


class TestS3Bytes(_S3, ByteStoreTests):
    pass


class TestS3(_S3, BackendTests):
    pass


class TestAzureBytes(_OfService, ByteStoreTests):
    @pytest.fixture
    def service(self, azurite):
        return azurite


class TestGcsBytes(_OfService, ByteStoreTests):
    @replaces("the emulator drops the connection when a range begins behind the end, where Google answers 416")
    @pytest.mark.parametrize(("start", "length", "expected"), [(0, 4, b"0123"), (8, 100, b"89"), (4, 0, b"")])
    def test_a_range_ends_where_the_bytes_end(self, store, start, length, expected):
        store.write("key", b"0123456789")
        assert store.read_range("key", start, length) == expected

    @pytest.fixture
    def service(self, gcs):
        return gcs


class TestSftpBytes(_OfService, ByteStoreTests):
    @pytest.fixture
    def service(self, sshd):
        return sshd


class TestWebdavBytes(_OfService, ByteStoreTests):
    @pytest.fixture
    def service(self, rclone):
        return rclone


class TestMemoryBytes(ByteStoreTests):
    @pytest.fixture
    def url(self):
        return f"fsspec+memory://kit-{next(_serial)}"


class TestMemory(BackendTests):
    @pytest.fixture
    def url(self):
        return f"fsspec+memory://kit-{next(_serial)}"

from __future__ import annotations

import itertools

import pytest

from padre_core.testing import BackendTests, Budget

_serial = itertools.count()


class _OverHttp(BackendTests):
    @pytest.fixture
    def url(self, address):
        return address.url

    @pytest.fixture
    def options(self, address):
        return address.options

    @pytest.fixture
    def budget(self):
        return Budget(rounds=8, examples=8)


class TestMemoryOverHttp(_OverHttp):
    @pytest.fixture
    def address(self, serve):
        return serve(f"memory://kit-{next(_serial)}")


class TestFileOverHttp(_OverHttp):
    @pytest.fixture
    def address(self, serve, tmp_path):
        return serve((tmp_path / "store").as_uri())

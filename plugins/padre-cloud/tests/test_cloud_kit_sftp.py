from __future__ import annotations

import pytest
from cloud_kit import OfService

from padre_core.testing import ByteStoreTests


class TestSftpBytes(OfService, ByteStoreTests):
    @pytest.fixture
    def service(self, sshd):
        return sshd

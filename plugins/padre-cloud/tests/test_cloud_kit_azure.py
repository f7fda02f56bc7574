from __future__ import annotations

import pytest
from cloud_kit import OfService

from padre_core.testing import ByteStoreTests


class TestAzureBytes(OfService, ByteStoreTests):
    @pytest.fixture
    def service(self, azurite):
        return azurite

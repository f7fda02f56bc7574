from __future__ import annotations

import pytest
from cloud_kit import OfService

from padre_core.testing import BackendTests


class TestS3(OfService, BackendTests):
    @pytest.fixture
    def service(self, ministack):
        return ministack

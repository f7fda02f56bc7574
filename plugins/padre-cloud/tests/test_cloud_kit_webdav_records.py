from __future__ import annotations

import pytest
from cloud_kit import OfOneWriter

from padre_core.testing import BackendTests


class TestWebdav(OfOneWriter, BackendTests):
    @pytest.fixture
    def service(self, rclone):
        return rclone

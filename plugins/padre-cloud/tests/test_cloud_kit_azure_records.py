from __future__ import annotations

import pytest
from cloud_kit import OfFurtherService

from padre_core.testing import BackendTests


# The library of Azure hands a body on as bytes, and aiohttp would rather have a file; the loop has nothing else to do.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestAzure(OfFurtherService, BackendTests):
    @pytest.fixture
    def service(self, azurite):
        return azurite

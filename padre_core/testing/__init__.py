"""The conformance kit: what every storage plugin is held to.

Needs pytest and hypothesis: `pip install padre-core[testing]`. A plugin's whole test is a class:

```python
import pytest
from padre_core.testing import ByteStoreTests

class TestMyStore(ByteStoreTests):
    @pytest.fixture
    def url(self, tmp_path):
        return f"mystore://{tmp_path}/store"
```

`docs/plugins.md` has the rest.
"""

import pytest

for _module in (
    "bytestore_levels", "bytestores", "evictions", "failures", "machines", "queries", "record_levels", "records",
    "streams",
):  # fmt: skip
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from padre_core.testing.backends import BackendTests, ByteStoreTests  # noqa: E402  # asserts are rewritten first
from padre_core.testing.counting import CountingStore  # noqa: E402
from padre_core.testing.faults import Fault, FaultyStore  # noqa: E402
from padre_core.testing.suite import Budget, Suite, replaces  # noqa: E402

__all__ = ["BackendTests", "Budget", "ByteStoreTests", "CountingStore", "Fault", "FaultyStore", "Suite", "replaces"]

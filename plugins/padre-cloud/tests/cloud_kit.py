"""What the files of the kit share; each holds the kit against one provider, so that two workers divide them."""

from __future__ import annotations

import itertools
from typing import ClassVar

import pytest

from padre_core.testing import Budget

serial = itertools.count()

MIB = 1024 * 1024

# Up to four parts of 8 MiB and their copies are on their way at once.
LARGE = 288 * MIB


class OfService:
    """Opens stores on a server; the subclass says on which."""

    @pytest.fixture
    def url(self, service):
        return service.fresh()

    @pytest.fixture
    def options(self, service):
        return service.options

    @pytest.fixture
    def budget(self):
        return Budget(rounds=8, examples=4, steps=15, large=LARGE)


class OfFurtherService(OfService):
    """The same, with fewer repetitions: what core makes of the bytes is tried on S3 at length."""

    skipped: ClassVar = {
        "test_a_large_blob_passes_through_bounded_memory": "the kit of byte stores sends as much through this store"
    }

    @pytest.fixture
    def budget(self):
        return Budget(processes=2, rounds=3, examples=2, steps=10, large=LARGE)


class OfOneWriter(OfFurtherService):
    """A server without conditional writes."""

    @pytest.fixture
    def options(self, service):
        return {**service.options, "single_writer": True}

"""What holds for all tests of this repository."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Processes that a test spawns import the test's module. Last in the path, so that installed distributions come first.
sys.path.append(str(Path(__file__).parent))

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("padre", deadline=None, print_blob=True)
settings.load_profile("padre")


@pytest.fixture(scope="session", autouse=True)
def _apart_from_the_user(tmp_path_factory):
    """Keeps indexes out of the user's cache, and the user's settings out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PADRE_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in ("PADRE_URL", "PADRE_USER", "PADRE_TOKEN"):
            patch.delenv(name, raising=False)
        yield

"""What holds for all tests of this repository."""

import pytest
from hypothesis import settings

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

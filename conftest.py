"""What holds for all tests of this repository."""

import contextlib
import signal
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Processes that a test spawns import the test's module. Last in the path, so that installed distributions come first.
sys.path.append(str(Path(__file__).parent))

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("padre", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("padre")


@pytest.fixture(scope="session", autouse=True)
def _apart_from_the_user(tmp_path_factory):
    """Keeps indexes out of the user's cache, and the user's settings out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PADRE_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in ("PADRE_URL", "PADRE_USER", "PADRE_TOKEN"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def free_port():
    """Gives ports to servers that must be told one.

    A socket that is bound and never listens keeps each port to the end: the system gives it to nobody else, neither
    while the server starts nor when it was killed, and lets the server listen on it.
    """
    with contextlib.ExitStack() as held:

        def free_port():
            keeper = held.enter_context(socket.socket())
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keeper.bind(("127.0.0.1", 0))
            return keeper.getsockname()[1]

        yield free_port


@pytest.fixture
def interruptible():
    """Lets processes hear Ctrl-C even where whoever runs the tests ignores it, as a shell does for what is behind."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

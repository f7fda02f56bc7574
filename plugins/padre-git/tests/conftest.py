import pytest


@pytest.fixture(autouse=True)
def places(tmp_path_factory, monkeypatch):
    """Keeps indexes and git's own settings of this machine out of the tests."""
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Keeps the indexes of the stores that the kit makes out of the user's cache."""
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))

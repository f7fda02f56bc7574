import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Keeps the indexes and spools of the stores that the kit makes out of the user's folders."""
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("PADRE_STATE", str(tmp_path_factory.getbasetemp() / "state"))

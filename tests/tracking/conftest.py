import pytest

import padre_core as padre


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["memory", "file"])
def workspace(request, tmp_path):
    url = "memory://" if request.param == "memory" else (tmp_path / "store").as_uri()
    with padre.open(url, durability="process") as workspace:
        yield workspace


@pytest.fixture
def store(tmp_path):
    return (tmp_path / "store").as_uri()

import itertools

import pytest

import padre_core as padre

_names = itertools.count()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PADRE_URL", raising=False)
    monkeypatch.setenv("PADRE_USER", "ada")


@pytest.fixture(params=["memory", "file"])
def new_url(request, tmp_path):
    """Gives the URL of a new store at each call."""
    if request.param == "memory":
        return lambda: f"memory://services-{next(_names)}"
    return lambda: f"{tmp_path.as_uri()}/store%20{next(_names)}"


@pytest.fixture
def url(new_url):
    return new_url()


@pytest.fixture
def workspace(url):
    with padre.open(url, durability="process") as opened:
        yield opened


@pytest.fixture
def execution(workspace):
    experiment = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    code = workspace.codes.put(padre.Code(type="command", command=("train",)))
    return workspace.executions.put(padre.Execution(experiment=experiment, code=code))


@pytest.fixture
def run(workspace, execution):
    return workspace.runs.put(padre.Run(execution=execution, parameters={"C": 1.0}, status="finished"))

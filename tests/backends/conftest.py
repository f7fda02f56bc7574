import pytest

from padre_core.backends.bytestore import ABSENT
from padre_core.objects import record as records
from padre_core.objects.identity import new_run_id, object_id
from padre_core.objects.project import Project
from padre_core.objects.run import Run
from padre_core.plugins import open_backend

AT = "2026-11-23T12:00:00.000000Z"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """An index of its own for each test, and none in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PADRE_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def opened(folder):
    """Opens the store in the folder, as often as wanted; all are closed at the end."""
    backends = []

    def open_again(**options):
        backends.append(open_backend(str(folder), durability="process", **options))
        return backends[-1]

    yield open_again
    for backend in backends:
        backend.close()


def project(name="iris", **fields):
    made = Project(name=name, **fields)
    return records.first("project", object_id("project", None, name), made.content(), (), by="ada", at=AT)


def edited(before, **fields):
    return records.successor(before, Project(**{**before.data(), **fields}).content(), by="ada", at=AT)


def run(status="running", **fields):
    made = Run(execution="0" * 36, status=status, **fields)
    return records.first("run", new_run_id(), made.content(), (object_id("project", None, "iris"),), by="ada", at=AT)


def ended(before):
    content = Run.from_content(before.content)
    content.status = "finished"
    return records.successor(before, content.content(), by="ada", at=AT)


def put_run(backend, points=5, **fields):
    """A finished run with points, and its id."""
    before = backend.put(run(**fields), if_match=ABSENT)
    writer = backend.open_writer(before.id)
    for step in range(points):
        writer.point("loss", step, step / 2, step)
    writer.close()
    backend.put(ended(before), if_match=before.etag)
    return before.id


def values(backend, id, metric="loss"):
    return [value for segment in backend.read_stream(id, "points") for value in segment.columns.of(metric)[2]]

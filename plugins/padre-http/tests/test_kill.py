"""Kill -9 of the client and of the server: what was acknowledged is there, what was half done is gone."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from http_proxy import Proxy

import padre_core as padre
from padre_core.errors import BackendError, NotFoundError
from padre_core.streams import spool
from padre_core.testing import samples
from padre_http import blobs, transport
from padre_http.client import Client
from padre_http.secret import Secret
from padre_server.database import Database
from padre_server.users import Users

CHILD = Path(__file__).parent / "child.py"


def begin(address, *job):
    task = json.dumps([address.url, address.token, *job])
    return subprocess.Popen([sys.executable, str(CHILD), task], stdout=subprocess.PIPE, text=True)


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def uploaded(served):
    """How many bytes of unfinished uploads there are."""
    size = 0
    for path in served.uploads:
        with contextlib.suppress(FileNotFoundError):  # it was finished since it was listed
            size += path.stat().st_size
    return size


@pytest.fixture
def short(monkeypatch):
    """Short pauses before a server that is away is asked again."""
    monkeypatch.setattr(transport, "BACKOFF_SECONDS", 0.01)


def test_what_a_killed_process_logged_is_shipped_by_the_next_opening(server, proxy, tmp_path):
    with server.open() as backend:
        run = backend.put(samples.run()).id
    gone = tmp_path / "gone"
    here = type(server)(proxy.url, server.token)
    with begin(here, "log", run, str(gone)) as child:
        said = [child.stdout.readline() for _ in range(20)]
        proxy.spoil_all("refuse")
        gone.touch()
        time.sleep(0.2)
        child.kill()
        said += [line for line in child.stdout if line.endswith("\n")]
    writer, count = json.loads(said[-1])
    proxy.spoil_all(None)
    with here.open() as backend:
        points = samples.points_by_writer(backend, run)[writer]
        lines = samples.lines_by_writer(backend, run)[writer]
    assert points[:count] == [("loss", step, step / 7) for step in range(count)]
    assert lines[:count] == [f"line {number}" for number in range(count)]


@pytest.mark.usefixtures("short")
def test_logging_goes_on_while_the_server_is_away_and_is_shipped_when_it_is_back(server, proxy):
    with type(server)(proxy.url, server.token).open() as backend:
        run = backend.put(samples.run()).id
        writer = backend.open_writer(run)
        proxy.spoil_all("refuse")
        samples.log(writer, 50)
        writer.flush()
        proxy.spoil_all(None)
        writer.flush()
        points, lines = samples.logged(50)
        assert samples.points_by_writer(backend, run) == {writer.id: points}
        assert samples.lines_by_writer(backend, run) == {writer.id: lines}
        writer.close()


def test_what_is_logged_arrives_without_a_flush(server, monkeypatch):
    monkeypatch.setattr(spool, "SHIP_SECONDS", 0.05)
    with server.open() as backend, server.open() as other:
        run = backend.put(samples.run()).id
        writer = backend.open_writer(run)
        samples.log(writer, 5)
        until(lambda: samples.points_by_writer(other, run))
        assert samples.points_by_writer(other, run) == {writer.id: samples.logged(5)[0]}


def test_a_run_lives_for_everybody_while_somebody_writes_it(serve, tmp_path):
    server = serve((tmp_path / "store").as_uri())
    with (
        padre.open(server.url, token=server.token) as workspace,
        padre.open(server.url, token=server.token, readonly=True) as reader,
        workspace.start_run("iris/svc") as run,
    ):
        assert reader.runs.get(run.id).status == "running"
        for path in tmp_path.glob("server-*/beats/*"):
            os.utime(path, (0, 0))
        assert reader.runs.get(run.id).status == "lost"


def test_a_writer_that_writes_nothing_says_that_it_lives(server, proxy, monkeypatch):
    monkeypatch.setattr(spool, "SHIP_SECONDS", 0.05)
    monkeypatch.setattr(spool, "BEAT_SECONDS", 0.05)
    with type(server)(proxy.url, server.token).open() as backend:
        writer = backend.open_writer(backend.put(samples.run()).id)
        until(lambda: sum("/streams/" in request for request in proxy.requests) >= 3)
        writer.close()


@pytest.mark.usefixtures("short")
def test_what_waits_when_the_store_is_closed_is_shipped_when_it_is_opened_again(server, proxy):
    here = type(server)(proxy.url, server.token)
    backend = here.open()
    run = backend.put(samples.run()).id
    writer = backend.open_writer(run)
    samples.log(writer, 5)
    proxy.spoil_all("refuse")
    backend.close()
    proxy.spoil_all(None)
    with server.open() as other:
        assert samples.points_by_writer(other, run) == {}
        here.open().close()
        assert samples.points_by_writer(other, run) == {writer.id: samples.logged(5)[0]}


@pytest.mark.usefixtures("short")
def test_what_waits_on_this_machine_is_told_until_the_server_has_it(server, proxy):
    with type(server)(proxy.url, server.token).open() as backend:
        run = backend.put(samples.run()).id
        writer = backend.open_writer(run)
        samples.log(writer, 5)
        proxy.spoil_all("refuse")
        told = {(item.run, item.writer, item.stream): item.count for item in backend.waiting()}
        assert told == {(run, writer.id, "points"): 20, (run, writer.id, "lines"): 5}
        proxy.spoil_all(None)
        writer.close()
        assert backend.waiting() == []


def test_nothing_is_left_on_this_machine_when_all_was_shipped(server, tmp_path):
    with server.open() as backend:
        writer = backend.open_writer(backend.put(samples.run()).id)
        samples.log(writer, 5)
    logs = [path for path in (tmp_path / "state").rglob("*-*") if path.is_file()]
    assert logs == []


def test_a_forked_child_logs_as_a_writer_of_its_own(server):
    with server.open() as backend:
        run = backend.put(samples.run()).id
        writer = backend.open_writer(run)
        samples.log(writer, 5)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                samples.log(writer, 3)
                writer.flush()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        samples.log(writer, 0)
        writer.flush()
        found = samples.points_by_writer(backend, run)
        assert found.pop(writer.id) == samples.logged(5)[0]
        assert list(found.values()) == [samples.logged(3)[0]]


def test_a_client_that_is_killed_while_it_uploads_leaves_no_blob(served):
    with begin(served.address, "upload") as child:
        child.stdout.readline()
        until(lambda: uploaded(served) > 500_000)
        child.kill()
    with served.address.open() as backend:
        assert list(backend.blobs()) == []
        assert backend.write_blob(io.BytesIO(b"x" * 5_000_000)).size == 5_000_000
        assert len(list(backend.blobs())) == 1


def test_an_upload_goes_on_when_its_server_was_killed_and_started_again(served, monkeypatch):
    monkeypatch.setattr(blobs, "CHUNK", 256 * 1024)
    data = os.urandom(8_000_000)
    with served.address.open() as backend:
        backend.client.attempts = 12
        results = []

        def upload():
            try:
                results.append(backend.write_blob(_Slow(data)))
            except BackendError as error:
                results.append(error)

        thread = threading.Thread(target=upload)
        thread.start()
        for _ in range(2):
            size = uploaded(served)
            until(lambda size=size: uploaded(served) >= size + 500_000 or results)
            served.kill()
            served.start()
        thread.join()
        (result,) = results
        assert not isinstance(result, BackendError), result
        with backend.open_blob(result.digest) as file:
            same = file.read() == data
        assert same
        assert list(backend.blobs()) == [result.digest]
        assert served.uploads == []


def test_a_large_blob_passes_through_flat_memory(served):
    megabytes = int(os.environ.get("PADRE_LARGE_MB", "300"))
    with begin(served.address, "travel", megabytes) as child:
        found = json.loads(child.stdout.readline())
    assert found["same"]
    assert found["size"] == megabytes * 1024 * 1024
    assert max(found["up"], found["down"]) < 30 * 1024 * 1024


class _Slow(io.BytesIO):
    """Bytes that take their time."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.05)
        return super().read(size)


def test_a_script_s_own_exception_comes_through_when_the_server_is_away(server, proxy):
    with (
        pytest.raises(ValueError, match="of the script") as raised,
        padre.open(proxy.url, token=server.token, timeout=2) as workspace,
        workspace.start_run("iris/svc"),
    ):
        proxy.spoil_all("refuse")
        raise ValueError("of the script")
    assert any("could not store the end of run" in note for note in raised.value.__notes__)


@pytest.fixture
def shared(serve, tmp_path):
    """A server, and a user of it who may write in two projects."""
    server = serve((tmp_path / "store").as_uri())
    (state,) = tmp_path.glob("server-*")
    with closing(Database(state / "server.db")) as database, closing(Client(server.url)) as client:
        with padre.open(server.url, token=server.token) as admin:
            projects = [admin.projects.put(padre.Project(name=name)).id for name in ("first", "second")]
        users = Users(database)
        users.add("ada", "correct horse battery")
        for project in projects:
            users.set_role("ada", project, "editor")
        client.sign_in("ada", Secret("correct horse battery"))
        yield server, users, projects


def test_what_is_refused_of_one_run_keeps_no_other_run_waiting(shared):
    server, users, (first, _) = shared
    with padre.open(server.url) as workspace, padre.open(server.url, token=server.token) as admin:
        stays = workspace.start_run("first/svc")
        goes_on = workspace.start_run("second/svc")
        users.set_role("ada", first, None)
        for run in (stays, goes_on):
            run.log_points("loss", [1.0, 0.5])
        with pytest.raises(NotFoundError):
            stays.flush()
        goes_on.flush()
        assert list(admin.runs.points(goes_on.id, "loss").values) == [1.0, 0.5]
        goes_on.finish()
        users.set_role("ada", first, "editor")
        stays.finish()
        assert list(admin.runs.points(stays.id, "loss").values) == [1.0, 0.5]


@pytest.mark.usefixtures("short")
def test_what_is_refused_of_an_earlier_run_waits_alone(shared):
    server, users, (first, _) = shared
    with closing(Proxy(server.url)) as proxy, padre.open(server.url, token=server.token) as admin:
        with padre.open(server.url) as workspace:
            runs = [workspace.start_run(path).id for path in ("first/svc", "second/svc")]
        token = default_token(server)
        here = type(server)(proxy.url, token)
        with here.open() as backend:
            writers = [backend.open_writer(run) for run in runs]
            proxy.spoil_all("refuse")
            for writer in writers:
                samples.log(writer, 5)
        proxy.spoil_all(None)
        users.set_role("ada", first, None)
        here.open().close()
        assert [len(admin.runs.points(run, "loss")) for run in runs] == [0, 5]
        users.set_role("ada", first, "editor")
        here.open().close()
        assert [len(admin.runs.points(run, "loss")) for run in runs] == [5, 5]


def default_token(server):
    """The token that was kept when somebody signed in to a server."""
    with closing(Client(server.url)) as client:
        return client._source.token().secret.reveal()

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime

import http_proxy as proxies
import pytest
from http_proxy import Proxy

import padre_core as padre
from padre_core.backends.backend import Write
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    CorruptObjectError,
    IncompatiblePluginError,
    InvalidObjectError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from padre_core.query.model import Query
from padre_core.query.parser import parse_order
from padre_core.testing import samples
from padre_http import transport
from padre_http.backend import HttpBackend
from padre_http.client import ATTEMPTS, Client
from padre_http.pages import PART
from padre_http.secret import Secret
from padre_http.tokens import Token, TokenFile, default_path
from padre_http.tokens.keep import FileKeep
from padre_http.wire import blobs, queries
from padre_http.wire.blobs import encode_many
from padre_http.wire.info import ServerInfo, encode_model


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Short pauses before a server that fails is asked again."""
    monkeypatch.setattr(transport, "BACKOFF_SECONDS", 0.01)


@pytest.fixture
def make():
    """Makes clients, which are closed with the test."""
    with ExitStack() as stack:

        def new(url, **options):
            client = Client(url, **options)
            stack.callback(client.close)
            return client

        yield new


@pytest.fixture
def client(make, server):
    return make(server.url, token=server.token)


def test_a_client_tells_what_the_server_and_its_store_are(client):
    assert client.info.product == "padre-server"
    assert client.info.store.durability
    end = time.monotonic() + 60
    while not client.online():  # two seconds may be too short on a busy machine
        assert time.monotonic() < end


def test_a_server_that_is_not_there_is_offline_at_once(make):
    client = make("padre+http://127.0.0.1:9", attempts=2)
    assert not client.online()
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9 cannot be reached"):
        client.get("/v1/info")


def test_generic_calls_reach_every_route(client):
    record = samples.project()
    assert client.get("/v1/projects").body.startswith(b'{"records":[')
    with pytest.raises(InvalidObjectError):
        client.put(f"/v1/projects/{record.id}", b"{}")
    with pytest.raises(BackendError):
        client.patch("/v1/uploads/" + "0" * 32, b"x", headers={"Upload-Offset": "0"}, limit=1)


@pytest.mark.parametrize(
    "path", ["http://evil.org/v1/x", "//evil.org/v1/x", "/etc", "/v1/../x", "/v1/a b", "/v1/a\r\nX: y", "/v1/é", "v1/x"]
)
def test_a_path_is_no_way_out(client, path):
    with pytest.raises(InvalidObjectError):
        client.get(path)


@pytest.mark.parametrize("token", [None, "padre_wrong"])
def test_who_has_no_valid_token_is_told_so(server, token):
    with pytest.raises(AuthenticationError):
        HttpBackend(server.url, token=token)


def test_an_unknown_option_is_refused(server):
    with pytest.raises(UnsupportedError, match="single_writer"):
        server.open(single_writer=True)


def test_a_new_token_takes_over_in_the_middle_of_the_work(server, make):
    tokens = iter([server.token, "padre_expired", server.token])
    client = make(server.url, token=lambda: next(tokens))
    client.get("/v1/whoami")
    client._source.renew(Secret(server.token))  # from now on it has the second, which the server refuses
    assert client.whoami().user
    assert list(tokens) == []


def test_a_token_whose_time_has_come_is_exchanged_and_kept(server, make):
    file = TokenFile(default_path())
    keep = FileKeep(file)
    client = make(server.url)
    client.sign_in_with(Secret(server.token))
    keep.save(client.origin, Token(Secret(server.token), datetime.now(UTC)))
    assert client.whoami().user
    kept = keep.load(client.origin)
    assert kept.secret != Secret(server.token)
    assert make(server.url).whoami().user


def test_who_cannot_exchange_a_token_now_goes_on_with_it_and_asks_again_later(server, proxy, make, monkeypatch):
    monkeypatch.setattr("padre_http.client.RENEW_SECONDS", 1.0)
    monkeypatch.setattr("padre_http.client.RENEW_AGAIN_SECONDS", 3600.0)
    client = make(proxy.url)
    client.sign_in_with(Secret(server.token))
    FileKeep(TokenFile(default_path())).save(client.origin, Token(Secret(server.token), datetime.now(UTC)))
    proxy.spoil("hang", "hang", "hang", only=b"/v1/session/refresh")
    for _ in range(3):
        assert client.whoami().user
    assert sum("/v1/session/refresh" in request for request in proxy.requests) == 1


def test_who_cannot_keep_a_new_token_goes_on_with_it(server, make):
    client = make(server.url)
    client.sign_in_with(Secret(server.token))
    FileKeep(TokenFile(default_path())).save(client.origin, Token(Secret(server.token), datetime.now(UTC)))
    with no_disk():
        assert client.whoami().user
    assert client._source.token().secret != Secret(server.token)
    assert client.whoami().user


@contextlib.contextmanager
def no_disk():
    """No file of this process may grow."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_the_id_that_a_server_gives_its_store_is_no_path(server, proxy, tmp_path):
    with HttpBackend(server.url, token=server.token) as backend:
        honest = encode_model(backend.client.info)
    lie = honest.replace(backend.info().store.encode(), b"../../elsewhere/x")
    proxy.spoil(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(lie), lie), only=b"/v1/info")
    with padre.open(proxy.url, token=server.token, remotes={"nas": (tmp_path / "nas").as_uri()}) as workspace:
        workspace.remotes.sync()
    assert not (tmp_path / "elsewhere").exists()


def test_threads_exchange_a_token_once(server, make):
    keep = FileKeep(TokenFile(default_path()))
    client = make(server.url)
    client.sign_in_with(Secret(server.token))
    keep.save(client.origin, Token(Secret(server.token), datetime.now(UTC)))
    users = []
    threads = [threading.Thread(target=lambda: users.append(client.whoami().user)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(users) == 8


def test_signing_out_revokes_and_forgets_the_token(server, make):
    client = make(server.url)
    client.sign_in_with(Secret(server.token))
    client.sign_out()
    with pytest.raises(AuthenticationError, match="padre login"):
        client.whoami()
    with pytest.raises(AuthenticationError):
        make(server.url, token=server.token).whoami()


def test_a_wrong_token_replaces_no_good_one(server, make):
    client = make(server.url)
    client.sign_in_with(Secret(server.token))
    with pytest.raises(AuthenticationError):
        client.sign_in_with(Secret("padre_wrong"))
    assert client.whoami().user


def test_redirects_are_not_followed(server, proxy, monkeypatch, make):
    client = make(proxy.url, token=server.token)
    monkeypatch.setattr(
        proxies, "ERROR", f"HTTP/1.1 307 x\r\nLocation: {server.url[6:]}/v1/x\r\nContent-Length: 0\r\n\r\n".encode()
    )
    proxy.spoil_all("500")
    with pytest.raises(BackendError, match="elsewhere"):
        client.get("/v1/whoami")
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 0x4000 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx",
        b"HTTP/1.1 503 x\r\nRetry-After: Fri, 31 Dec 2030 23:59:59 +9999999999999999\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_that_is_too_large_or_senseless_is_an_error_of_ours(server, proxy, monkeypatch, answer, make):
    client = make(proxy.url, token=server.token)
    monkeypatch.setattr(proxies, "ERROR", answer)
    proxy.spoil_all("500")
    with pytest.raises(BackendError):
        client.call("GET", "/v1/whoami", limit=10_000, timeout=3)


def test_a_server_of_another_version_says_which_side_to_upgrade(server, proxy, monkeypatch):
    for api, side in (((2, 3), "padre-http here"), ((0,), "padre-server there")):
        body = encode_model(ServerInfo(version="9", api=api))
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        monkeypatch.setattr(proxies, "ERROR", head + body)
        proxy.spoil_all("500")
        with pytest.raises(IncompatiblePluginError, match=side):
            HttpBackend(proxy.url, token=server.token)


def test_the_objects_of_an_answer_are_those_that_were_asked_for(server, proxy, monkeypatch):
    from padre_http.wire.records import encode_heads, encode_record

    asked, other = samples.project("asked"), samples.project("other")
    with HttpBackend(proxy.url, token=server.token) as backend:
        for body, call in (
            (encode_record(other), lambda: backend.get("project", asked.id)),
            (encode_heads([other]), lambda: backend.get_many([("project", asked.id)])),
            (encode_heads([]), lambda: backend.get_many([("project", asked.id)])),
            (b"{}", lambda: backend.get("project", asked.id)),
        ):
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            monkeypatch.setattr(proxies, "ERROR", head + body)
            proxy.spoil_all("500")
            with pytest.raises(BackendError):
                call()


def pages(backend, query):
    """The pages of a listing, each asked for when it is taken."""
    while True:
        page = backend.query("project", query)
        yield [record.id for record in page.records]
        if page.cursor is None:
            return
        query = replace(query, cursor=page.cursor)


def numbered(count):
    return [samples.project(f"project-{number:04}") for number in range(count)]


def test_a_long_listing_comes_in_pages_each_object_once_and_in_order(server):
    with HttpBackend(server.url, token=server.token) as backend:
        put = [record.id for record in numbered(2 * PART + 50)]
        backend.put_many([Write(record, ABSENT) for record in numbered(2 * PART + 50)])
        asked = []
        call = backend._ask
        backend._ask = lambda *arguments, **more: asked.append(arguments) or call(*arguments, **more)
        order = parse_order("name", "project")
        for limit in (3 * PART, PART, PART + 20, 100):
            found = list(pages(backend, Query(order=order, limit=limit)))
            assert [id for page in found for id in page] == put
            assert {len(page) for page in found[:-1]} == {min(limit, PART)}
            assert len(asked) == len(found)  # nothing was asked for that nobody took
            asked.clear()


def test_what_was_read_ahead_serves_no_other_listing(server):
    query = Query(order=parse_order("name", "project"), limit=1000)
    with HttpBackend(server.url, token=server.token) as backend:
        backend.put_many([Write(record, ABSENT) for record in numbered(PART + 1)])
        first = backend.query("project", query)
        assert len(backend._pages._coming.body.result())  # it lies there, and whoever asked for it stops here
        last = backend.get("project", samples.project(f"project-{PART:04}").id)
        backend.put(samples.edited(last, title="new"), if_match=last.etag)
        again = backend.query("project", replace(query, limit=PART))  # which reads nothing ahead
        assert again.cursor == first.cursor
        (found,) = backend.query("project", replace(query, cursor=again.cursor)).records
        assert found.data()["title"] == "new"


def test_a_forked_child_does_not_wait_for_what_its_parent_asked_for(server):
    query = Query(order=parse_order("name", "project"), limit=1000)
    with HttpBackend(server.url, token=server.token) as backend:
        backend.put_many([Write(record, ABSENT) for record in numbered(PART + 1)])
        first = backend.query("project", query)
        backend._pages._coming = backend._pages._coming._replace(
            body=Future()
        )  # as a child has it, which no thread completes
        child = os.fork()
        if not child:
            os._exit(len(backend.query("project", replace(query, cursor=first.cursor)).records))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_a_page_that_fails_when_it_is_read_ahead_is_an_error_to_who_wants_it(server, proxy):
    with HttpBackend(proxy.url, token=server.token) as backend:
        backend.put_many([Write(record, ABSENT) for record in numbered(PART + 1)])
        part, asked = backend._pages._ask, []

        def failing(*arguments):
            asked.append(arguments)
            if len(asked) == 2:
                proxy.spoil_all("500")
            return part(*arguments)

        backend._pages._ask = failing
        page = backend.query("project", Query(limit=1000))
        assert len(page.records) == PART
        with pytest.raises(BackendError):
            backend.query("project", Query(limit=1000, cursor=page.cursor))


def test_a_server_that_gives_one_cursor_again_and_again_is_found_out(server, monkeypatch):
    with HttpBackend(server.url, token=server.token) as backend:
        backend.put_many([Write(record, ABSENT) for record in numbered(3)])
        page, part = backend.query("project", Query(limit=1)), backend.changes(limit=1)
        assert page.cursor
        assert part.more
        ask = backend._ask
        repeated = {"search": queries.encode_query(Query(limit=1)), "changes": "/v1/changes?limit=1"}
        monkeypatch.setattr(
            backend._pages, "_ask", lambda *_: ask("POST", "/v1/projects/search", repeated["search"]).body
        )
        with pytest.raises(BackendError, match="one cursor again"):
            backend.query("project", Query(limit=1, cursor=page.cursor))
        monkeypatch.setattr(backend, "_ask", lambda *_: ask("GET", repeated["changes"]))
        with pytest.raises(BackendError, match="one cursor again"):
            backend.changes(part.cursor, limit=1)


def test_a_part_that_hangs_does_not_keep_a_process_alive(server):
    script = f"""
import os, threading
from padre_core.query.model import Query
from padre_http import pages
from padre_http.backend import HttpBackend
pages.PART = 1
backend = HttpBackend({server.url!r}, token={server.token!r})
part, hangs = backend._pages._ask, threading.Event()
def hanging(kind, query):
    if query.cursor is None:
        return part(kind, query)
    hangs.set()
    threading.Event().wait()
backend._pages._ask = hanging
threading.Thread(target=backend.query, args=("project", Query(limit=5)), daemon=True).start()
assert hangs.wait(300)
"""
    with HttpBackend(server.url, token=server.token) as backend:
        backend.put_many([Write(samples.project(f"project-{number}"), ABSENT) for number in range(3)])
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_a_token_shows_in_no_error_and_no_representation(server, proxy, request):
    backend = HttpBackend(proxy.url, token=server.token)
    request.addfinalizer(backend.close)
    backend.client.attempts = 1
    shown = [repr(value) for value in (backend, backend.client, vars(backend), vars(backend.client))]
    proxy.spoil_all("garbage")
    for call in (backend.sync, backend.ping, backend.live_runs):
        with pytest.raises(BackendError) as caught:
            call()
        shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert server.token not in "".join(shown)


def test_a_forked_child_has_connections_of_its_own(server):
    with server.open() as backend:
        record = backend.put(samples.project())
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = int(backend.get("project", record.id) != record)
            finally:
                os._exit(code)
        for _ in range(20):
            assert backend.get("project", record.id) == record
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_core_does_not_need_the_client():
    code = "import sys, padre_core; assert not {'padre_http', 'http.client', 'ssl'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_reader_may_not_write(server):
    with server.open(readonly=True) as backend, pytest.raises(AccessDeniedError):
        backend.put(samples.project())


def test_what_lies_above_an_object_is_not_read_again_while_nothing_was_written(serve, tmp_path):
    served = serve((tmp_path / "store").as_uri())
    proxy = Proxy(served.url)
    with padre.open(proxy.url, token=served.token) as workspace, padre.open(served.url, token=served.token) as other:
        experiment = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        workspace.experiments.get(experiment.id)
        proxy.requests.clear()
        for _ in range(5):
            workspace.experiments.get(experiment.id)
        assert len(proxy.requests) == 5
        other.projects.delete("iris")
        with pytest.raises(NotFoundError):
            workspace.experiments.get(experiment.id)
    proxy.close()


def test_a_busy_server_says_when_to_come_again(server, proxy, make, monkeypatch):
    client = make(proxy.url, token=server.token)
    monkeypatch.setattr(proxies, "BUSY", b"HTTP/1.1 429 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
    proxy.spoil("busy")
    began = time.monotonic()
    assert client.whoami().user
    assert time.monotonic() - began >= 1


def test_nobody_waits_for_a_server_that_is_busy_for_too_long(server, proxy, make, monkeypatch):
    client = make(proxy.url, token=server.token)
    monkeypatch.setattr(proxies, "BUSY", b"HTTP/1.1 503 Busy\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n")
    proxy.spoil("busy")
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        client.whoami()
    assert time.monotonic() - began < 300


def test_a_server_that_is_away_is_asked_patiently_the_first_time_and_then_once_until_it_answers(server, proxy):
    def asked(fault):
        proxy.spoil_all(fault)
        proxy.requests.clear()
        with contextlib.suppress(UnavailableError), HttpBackend(proxy.url, token=server.token):
            assert fault is None
        return len(proxy.requests)

    assert [asked("refuse") for _ in range(3)] == [ATTEMPTS, 1, 1]
    assert asked(None) == 1
    assert [asked("refuse") for _ in range(2)] == [ATTEMPTS, 1]


def test_a_blob_that_is_not_what_was_asked_for_is_noticed(server, proxy, monkeypatch):
    with HttpBackend(proxy.url, token=server.token) as backend:
        digest = backend.write_blob(io.BytesIO(b"what was stored")).digest
        monkeypatch.setattr(proxies, "ERROR", b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nwhat was forged")
        proxy.spoil_all("500")
        with pytest.raises(CorruptObjectError), backend.open_blob(digest) as file:
            file.read()


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"{}", b'{"digest":"%b","size":1}' % (b"0" * 64)])
@pytest.mark.parametrize("size", [10, 3 * 1024 * 1024])
def test_what_does_not_say_that_it_has_a_blob_has_stored_none(server, proxy, monkeypatch, body, size):
    with HttpBackend(proxy.url, token=server.token) as backend:
        monkeypatch.setattr(proxies, "ERROR", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        proxy.spoil("500", only=b"PUT /v1/blobs/" if size == 10 else b"/commit")
        with pytest.raises(BackendError):
            backend.write_blob(io.BytesIO(bytes(size)))
        assert proxy.left == 0


def test_what_does_not_say_that_all_is_safe_has_not_made_it_so(server, proxy):
    with HttpBackend(proxy.url, token=server.token) as backend:
        proxy.spoil(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", only=b"/v1/sync")
        with pytest.raises(BackendError):
            backend.sync()
        backend.sync()


def test_of_many_blobs_none_is_taken_that_was_not_asked_for(server, proxy, monkeypatch):
    with HttpBackend(proxy.url, token=server.token) as backend:
        digest = backend.write_blob(io.BytesIO(b"what was stored")).digest
        body = b"".join(encode_many([(hashlib.sha256(b"forged").hexdigest(), b"forged")]))
        monkeypatch.setattr(proxies, "ERROR", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        proxy.spoil_all("500")
        with pytest.raises(BackendError, match="other blobs"):
            list(backend.read_blobs([digest]))


def test_of_many_blobs_the_damaged_ones_are_left_out(server, proxy, monkeypatch):
    with HttpBackend(proxy.url, token=server.token) as backend:
        one, other = (blob.digest for blob in backend.write_blobs([b"one", b"other"]))
        body = b"".join(encode_many([(one, b"0ne"), (other, b"other")]))
        monkeypatch.setattr(proxies, "ERROR", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        proxy.spoil_all("500")
        assert list(backend.read_blobs([one, other])) == [(other, b"other")]


def test_many_blobs_go_on_behind_the_last_one_that_came(server, proxy, monkeypatch):
    monkeypatch.setattr(blobs, "MAX_DIGESTS", 30)
    sent = [b"%d" % number * 1000 for number in range(100)]
    with HttpBackend(proxy.url, token=server.token) as backend:
        digests = [blob.digest for blob in backend.write_blobs(sent)]
        proxy.requests.clear()
        proxy.spoil("cut the body", "refuse", "cut the body", only=b"/v1/blobs/get")
        assert list(backend.read_blobs(digests)) == list(zip(digests, sent, strict=True))
        assert proxy.left == 0
        assert sum("/v1/blobs/get" in line for line in proxy.requests) == 4 + 3


def test_a_blob_is_read_from_any_place(server, monkeypatch):
    data = bytes(range(256)) * 4000
    with server.open() as backend:
        digest = backend.write_blob(io.BytesIO(data)).digest
        with backend.open_blob(digest) as file:
            assert file.seek(-1000, io.SEEK_END) == len(data) - 1000
            assert file.read() == data[-1000:]
            file.seek(7)
            assert file.read(9) == data[7:16]
            assert file.tell() == 16


def test_a_lost_answer_to_a_refresh_signs_nobody_out(server):
    proxy = Proxy(server.url)
    with closing(proxy), closing(Client(proxy.url, token=server.token)) as client:
        proxy.spoil("reset after the server acted", only=b"/v1/session/refresh")
        with pytest.raises(UnavailableError):
            client.refresh()
        assert client.whoami().user == "first"
        client.refresh()
        assert client.whoami().user == "first"


def test_a_folder_of_small_files_takes_few_requests(server, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(50):
        (folder / f"{number}.txt").write_text(f"file {number}")
    proxy = Proxy(server.url)
    with closing(proxy), padre.open(proxy.url, token=server.token) as workspace, workspace.start_run("a/b") as run:
        before = len(proxy.requests)
        artifacts = run.log_artifacts(folder)
        assert len(proxy.requests) - before < 10
        before = len(proxy.requests)
        paths = workspace.artifacts.download(str(run.id), tmp_path / "to")
        assert len(proxy.requests) - before < 10
        assert [path.read_text() for path in paths] == [f"file {path.stem}" for path in paths]
        assert {artifact.path: workspace.artifacts.read(artifact) for artifact in artifacts} == {
            f"{number}.txt": b"file %d" % number for number in range(50)
        }

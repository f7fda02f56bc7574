from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import traceback
import urllib.request
from pathlib import Path

import pytest
from emulators import Service, s3_options

import padre_core as padre
from padre_cloud import CloudStore
from padre_cloud.drivers.base import PART
from padre_core.backends.blobs import open_blob, write_blob
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import (
    AuthenticationError,
    BackendError,
    ConflictError,
    InvalidObjectError,
    NotFoundError,
    PadreError,
    PluginLoadError,
    UnavailableError,
    UnsupportedError,
)
from padre_core.plugins import backend_class, open_backend
from padre_core.testing import together

sys.path.append(str(Path(__file__).parents[2] / "padre-http" / "tests"))

from http_proxy import Proxy


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:secret@bucket/store",
        "fsspec+s3://key:secret@bucket/store",
        "sftp://me:secret@host/store",
        "fsspec+simplecache::s3://bucket/store",
        "s3://bucket/a::file:///etc",
        "fsspec+s3::memory://me:secret@bucket/store",
        "s3://bucket/store?versionId=1",
        "s3://bucket/store#part",
        "s3://bucket/../other",
        "s3:///store",
        "webdav://example.org/store",
    ],
)
def test_a_url_that_says_more_than_a_place_is_refused_without_its_secret(url):
    with pytest.raises(PadreError) as raised:
        CloudStore(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "scheme", ["file", "local", "reference", "simplecache", "filecache", "dir", "zip", "http", "github", "data"]
)
def test_filesystems_that_are_no_storage_elsewhere_are_refused_unless_allowed(scheme, monkeypatch, tmp_path):
    with pytest.raises(UnsupportedError, match="PADRE_FSSPEC_SCHEMES"):
        CloudStore(f"fsspec+{scheme}://{tmp_path}")
    assert backend_class(f"fsspec+{scheme}") is CloudStore


def test_a_chain_is_served_if_the_operator_allows_each_of_its_links(monkeypatch, tmp_path):
    url = f"fsspec+simplecache::file://{tmp_path}/store"
    for allowed in ("", "simplecache", "file"):
        monkeypatch.setenv("PADRE_FSSPEC_SCHEMES", allowed)
        with pytest.raises(UnsupportedError, match="PADRE_FSSPEC_SCHEMES"):
            padre.open(url, single_writer=True)
    monkeypatch.setenv("PADRE_FSSPEC_SCHEMES", "simplecache,file")
    with padre.open(url, single_writer=True, simplecache={"cache_storage": str(tmp_path / "cache")}) as ws:
        ws.projects.put(padre.Project(name="lab"))
    with padre.open(f"fsspec+file://{tmp_path}/store", readonly=True) as ws:
        assert [project.name for project in ws.projects.list()] == ["lab"]
    with pytest.raises(UnsupportedError, match="unknown option 'zip'"):
        padre.open(url, zip={})


def test_a_scheme_that_the_operator_allows_is_served(monkeypatch, tmp_path):
    monkeypatch.setenv("PADRE_FSSPEC_SCHEMES", "zip, file")
    with padre.open(f"fsspec+file://{tmp_path}/store", single_writer=True) as ws:
        ws.projects.put(padre.Project(name="lab"))
    with padre.open(f"fsspec+file://{tmp_path}/store", readonly=True) as ws:
        assert [project.name for project in ws.projects.list()] == ["lab"]
    assert not list((tmp_path / "store").rglob(".*")), "temporary files were left"


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("s3://bucket", "s3fs", "s3"),
        ("gs://bucket", "gcsfs", "gcs"),
        ("az://container", "adlfs", "azure"),
        ("sftp://host/folder", "paramiko", "sftp"),
        ("webdavs://host/folder", "webdav4", "webdav"),
    ],
)
def test_a_missing_filesystem_is_named_with_what_to_install(url, module, extra, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("padre_cloud.drivers.") and "base" not in name]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PluginLoadError, match=re.escape(f"pip install 'padre-cloud[{extra}]'")):
        CloudStore(url)


@pytest.mark.parametrize("option", ["max_concurrency", "default_block_size", "cache_regions", "version_aware"])
def test_an_option_that_would_have_no_effect_is_refused(option):
    with pytest.raises(UnsupportedError, match=f"{option}.*has no effect"):
        CloudStore("s3://bucket/store", **s3_options("http://127.0.0.1:1"), **{option: 1})


def test_who_pays_and_how_objects_are_kept_is_said_with_each_request(ministack):
    proxy = Proxy(ministack.options["endpoint_url"])
    further = {"requester_pays": True, "s3_additional_kwargs": {"StorageClass": "STANDARD_IA"}}
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh(), attempts=1, **further)
    calls = (
        lambda: store.write("key", b"data"),
        lambda: store.read("key"),
        lambda: store.stat("key"),
        lambda: list(store.list("")),
        lambda: store.delete("key"),
    )
    for call in calls:
        proxy.spoil("500", only=b"x-amz-request-payer: requester")
        with pytest.raises(UnavailableError):
            call()
        proxy.spoil()
    proxy.spoil("500", only=b"x-amz-storage-class: STANDARD_IA")
    with pytest.raises(UnavailableError):
        store.write("key", b"data")
    store.close()
    proxy.close()


def test_an_option_that_nobody_takes_is_refused_before_anything_is_asked(moto):
    with pytest.raises(UnsupportedError, match="endpoint_ulr"):
        moto.open(endpoint_ulr="http://127.0.0.1:1")
    with pytest.raises(InvalidObjectError):
        moto.open(attempts=0)


def test_no_secret_is_in_what_an_error_says():
    options = {**s3_options("http://127.0.0.1:1"), "key": "KEYKEY", "secret": "SECRETSECRET"}
    with pytest.raises(UnavailableError) as raised:
        CloudStore("s3://bucket/store", attempts=1, **options)
    told = "".join(traceback.format_exception(raised.value, chain=raised.value.__cause__ is not None))
    assert "SECRETSECRET" not in told
    assert "KEYKEY" not in told


def test_credentials_come_from_the_environment(ministack, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack.options["endpoint_url"])
    store = CloudStore(ministack.fresh())
    store.write("key", b"data", if_match=ABSENT)
    assert store.read("key").data == b"data"
    store.close()


def test_commands_take_options_from_the_settings_of_the_user_and_only_from_a_private_file(sshd, tmp_path):
    url = sshd.fresh()
    file = tmp_path / "config" / "cloud.toml"
    file.parent.mkdir()
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**sshd.options, "single_writer": True}.items()]
    file.write_text("\n".join([f'["{url.rpartition("/")[0]}"]', *lines, '["sftp://other"]', "port = 1"]))
    file.chmod(0o644)
    with pytest.raises(InvalidObjectError, match="chmod 600"):
        padre.open(url)
    file.chmod(0o600)
    with padre.open(url) as ws:
        ws.projects.put(padre.Project(name="lab"))
    command = [sys.executable, "-m", "padre_core", "ls", "projects", "--store", url]
    assert "lab" in subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.parametrize(("name", "options", "instead"), [
    ("ministack", {"key": None, "secret": None}, "aws configure"),
    ("azurite", {"connection_string": None}, "az login"),
    ("azurite", {"connection_string": "nonsense"}, "az login"),
    ("sshd", {"key_filename": None}, "key_filename"),
])  # fmt: skip
def test_who_gives_no_credentials_is_told_how(name, options, instead, request):
    service = request.getfixturevalue(name)
    with pytest.raises(AuthenticationError, match=instead):
        service.open(attempts=1, **options)


@pytest.mark.parametrize("name", ["moto", "ministack", "azurite", "gcs"])
def test_a_bucket_that_is_not_there_is_told_from_a_key_that_is_not(name, request):
    service = request.getfixturevalue(name)
    with pytest.raises(BackendError, match="there is no nowhere: make it first"):
        service.open(f"{service.url.partition('://')[0]}://nowhere/store")


def test_what_a_server_says_of_a_refusal_is_told_on_one_line(ministack):
    proxy = Proxy(ministack.options["endpoint_url"])
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh())
    body = b"<Error><Code>InvalidArgument</Code><Message>no\nkey \x1b[31mid</Message></Error>"
    proxy.spoil(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), only=b"PUT /")
    with pytest.raises(BackendError, match=r"key: InvalidArgument \(400\), no key  \[31mid$"):
        store.write("key", b"data")
    store.close()
    proxy.close()


def test_a_folder_that_is_no_store_yet_names_the_option_that_makes_one(sshd):
    with pytest.raises(NotFoundError, match=r"no padre\.json, and was opened read-only because .* single_writer=true"):
        open_backend(sshd.fresh(), **sshd.options)


class Careless(Proxy):
    """A server that takes conditional requests and writes all the same, as some do."""

    def _exchange(self, client, request, fault):
        return super()._exchange(client, re.sub(rb"(?i)\r\nif-(none-)?match:[^\r]*", b"", request), fault)


def test_a_server_that_ignores_conditions_is_read_only_unless_there_is_one_writer(ministack):
    proxy = Careless(ministack.options["endpoint_url"])
    url, options = ministack.fresh(), s3_options(proxy.url)
    store = CloudStore(url, **options)
    assert not store.capabilities.conditional_write
    store.close()
    with pytest.raises(PadreError, match="single_writer"):
        open_backend(url, **options)
    with padre.open(url, single_writer=True, **options) as ws:
        ws.projects.put(padre.Project(name="lab"))
        assert ws.projects.get("lab").name == "lab"
    proxy.close()


def test_what_a_server_obeys_is_asked_once_for_each_place_and_machine(ministack):
    proxy = Proxy(ministack.options["endpoint_url"])
    service = Service(ministack.url, s3_options(proxy.url))
    service.open().close()
    assert 0 < len(proxy.requests) <= 5
    proxy.requests.clear()
    store = service.open()
    assert store.capabilities.conditional_write
    store.close()
    assert proxy.requests == []
    proxy.close()


def test_an_opening_for_reading_writes_nothing(ministack):
    proxy = Proxy(ministack.options["endpoint_url"])
    store = CloudStore(ministack.fresh(), readonly=True, **s3_options(proxy.url))
    assert list(store.list("")) == []
    store.close()
    assert {line.split()[0] for line in proxy.requests} == {"GET"}
    proxy.close()


@pytest.mark.parametrize("name", ["moto", "ministack", "azurite", "gcs"])
def test_of_two_openings_that_hold_the_same_version_one_writes(name, request):
    service = request.getfixturevalue(name)
    url = service.fresh()
    one, two = service.open(url), service.open(url)
    assert one.capabilities.conditional_write
    version = one.write("key", b"first", if_match=ABSENT)
    two.write("key", b"second", if_match=version)
    with pytest.raises(ConflictError):
        one.write("key", b"third", if_match=version)
    assert one.read("key").data == b"second"
    one.close()
    two.close()


@pytest.mark.parametrize("name", ["ministack", "azurite"])
def test_a_signed_url_gives_an_artifact_to_whoever_has_it(name, request):
    service = request.getfixturevalue(name)
    with padre.open(service.fresh(), **service.options) as ws, ws.start_run() as run:
        artifact = ws.artifacts.upload(run.id, b"data", path="weights/last.bin")
        with urllib.request.urlopen(ws.artifacts.presign(artifact, 60), timeout=60) as answer:
            assert answer.read() == b"data"


@pytest.mark.parametrize(
    ("name", "options"),
    [("gcs", {}), ("azurite", {"connection_string": None, "account_name": "account", "sas_token": "sv=1"})],
)
def test_credentials_that_cannot_sign_are_told_from_others(name, options, request):
    service = request.getfixturevalue(name)
    store = CloudStore(service.fresh(), readonly=True, **{**service.options, **options})
    with pytest.raises(AuthenticationError, match="cannot sign"):
        store.presign("key", 60)
    store.close()


@pytest.mark.parametrize("name", ["sshd", "rclone"])
def test_servers_without_conditions_take_one_writer_and_sign_nothing(name, request):
    service = request.getfixturevalue(name)
    url = service.fresh()
    store = service.open(url)
    assert not store.capabilities.conditional_write
    with pytest.raises(UnsupportedError):
        store.presign("key", 60)
    store.close()
    with padre.open(url, single_writer=True, **service.options) as ws, ws.start_run() as run:
        run.log_metric("loss", 0.5)
    with padre.open(url, readonly=True, **service.options) as ws:
        assert len(list(ws.runs.list())) == 1


def test_a_host_whose_key_is_not_known_is_not_spoken_to(sshd, tmp_path):
    (tmp_path / "none").touch()
    with pytest.raises(PadreError, match="known_hosts"):
        sshd.open(known_hosts=str(tmp_path / "none"), attempts=1)


def test_eight_processes_on_one_bucket_lose_no_update_and_make_no_name_twice(ministack):
    url = ministack.fresh()
    store = ministack.open(url)
    store.write("count", b"0")
    count = {"job": "count", "url": url, "options": ministack.options, "key": "count", "times": 5}
    names = [f"name-{number}" for number in range(10)]
    claims = [
        {"job": "claim", "url": url, "options": ministack.options, "keys": names, "name": str(number)}
        for number in range(4)
    ]
    answers = together.processes([*[count] * 4, *claims])
    assert store.read("count").data == b"20"
    assert sorted(name for won in answers[4:] for name in won) == names
    store.close()


FORKS = """
import os, sys, json
from padre_cloud import CloudStore
store = CloudStore(sys.argv[1], **json.loads(sys.argv[2]))
store.write("parent", b"1")
child = os.fork()
if not child:
    assert store.read("parent").data == b"1"
    store.write("child", b"2")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert store.read("child").data == b"2"
store.close()
"""


def test_the_child_of_a_fork_has_connections_of_its_own(ministack):
    command = [sys.executable, "-W", "ignore", "-c", FORKS, ministack.fresh(), json.dumps(ministack.options)]
    subprocess.run(command, check=True, timeout=300, env=os.environ)


LARGE = bytes(range(256)) * (2 * PART // 256) + b"end"


def test_a_large_file_on_disk_is_not_kept_on_disk_a_second_time(ministack, tmp_path, monkeypatch):
    (tmp_path / "large").write_bytes(b"before" + LARGE)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    store = ministack.open()
    with (tmp_path / "large").open("rb") as file:
        file.seek(6)
        reference = write_blob(store, file, "application/octet-stream")
    assert reference.digest == hashlib.sha256(LARGE).hexdigest()
    assert reference.size == len(LARGE)
    with open_blob(store, reference.digest) as stored:
        assert stored.read() == LARGE
    store.close()


class Changing(io.FileIO):
    """A file in which another process writes when it was read once."""

    def seek(self, place, whence=io.SEEK_SET):
        with open(self.name, "r+b") as other:
            other.seek(PART + 7)
            other.write(b"changed")
        return super().seek(place, whence)


def test_a_file_that_changes_while_it_is_stored_is_not_stored(ministack, tmp_path):
    (tmp_path / "large").write_bytes(LARGE)
    store = ministack.open()
    with Changing(tmp_path / "large") as file, pytest.raises(InvalidObjectError, match="changed while it was stored"):
        write_blob(store, file, "application/octet-stream")
    assert list(store.list("")) == []
    store.close()


def test_a_file_that_shrinks_while_it_is_stored_is_not_stored(ministack, tmp_path, monkeypatch):
    (tmp_path / "large").write_bytes(LARGE)
    store = ministack.open()
    stat = store.stat

    def shrinking(key):
        os.truncate(tmp_path / "large", 5)
        return stat(key)

    monkeypatch.setattr(store, "stat", shrinking)
    with (tmp_path / "large").open("rb") as file, pytest.raises(InvalidObjectError):
        write_blob(store, file, "application/octet-stream")
    assert list(store.list("")) == []
    store.close()


def test_a_large_file_is_sent_again_from_its_start_when_the_provider_was_away(ministack, tmp_path):
    (tmp_path / "large").write_bytes(LARGE)
    proxy = Proxy(ministack.options["endpoint_url"])
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh(), attempts=2)
    proxy.spoil("500", "500", only=b"partNumber=2")
    with (tmp_path / "large").open("rb") as file:
        reference = write_blob(store, file, "application/octet-stream")
    assert not proxy.left
    with open_blob(store, reference.digest) as stored:
        assert stored.read() == LARGE
    store.close()
    proxy.close()

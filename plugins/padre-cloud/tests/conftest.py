from __future__ import annotations

import getpass
import json
import sys
import urllib.request
from pathlib import Path

import pytest

# Test modules share helpers that stand beside them, under names that no other folder of tests has.
sys.path.append(str(Path(__file__).parent))

import emulators
from emulators import Service, make_bucket, s3_options

ACCOUNT = "devstoreaccount1"
# The manual of Azurite has it.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Keeps indices, notes and spools out of the user's folders, and the user's credentials out of the tests."""
    monkeypatch.setenv("PADRE_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def moto(tmp_path_factory, free_port):
    with emulators.moto(tmp_path_factory.mktemp("moto"), free_port()) as port:
        endpoint = f"http://127.0.0.1:{port}"
        make_bucket(endpoint, "bucket")
        yield Service("s3://bucket", s3_options(endpoint))


@pytest.fixture(scope="session")
def ministack(tmp_path_factory, free_port):
    with emulators.ministack(tmp_path_factory.mktemp("ministack"), free_port()) as port:
        endpoint = f"http://127.0.0.1:{port}"
        make_bucket(endpoint, "bucket")
        yield Service("s3://bucket", s3_options(endpoint))


@pytest.fixture(scope="session")
def azurite(tmp_path_factory, free_port):
    from azure.storage.blob import BlobServiceClient

    with emulators.azurite(tmp_path_factory.mktemp("azurite"), free_port()) as port:
        connection = (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        )
        with BlobServiceClient.from_connection_string(connection) as client:
            client.create_container("container")
        yield Service("az://container", {"connection_string": connection})


@pytest.fixture(scope="session")
def gcs(tmp_path_factory, free_port):
    with emulators.fake_gcs(tmp_path_factory.mktemp("gcs"), free_port()) as port:
        endpoint = f"http://127.0.0.1:{port}"
        request = urllib.request.Request(
            f"{endpoint}/storage/v1/b?project=test", json.dumps({"name": "bucket"}).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        urllib.request.urlopen(request, timeout=60).close()
        yield Service("gs://bucket", {"endpoint_url": endpoint, "token": "anon", "project": "test"})


@pytest.fixture(scope="session")
def sshd(tmp_path_factory, free_port):
    folder = tmp_path_factory.mktemp("sshd")
    with emulators.sshd(folder, free_port()) as port:
        options = {"key_filename": str(folder / "user"), "known_hosts": str(folder / "known_hosts")}
        quiet = {"allow_agent": False, "look_for_keys": False}
        yield Service(f"sftp://{getpass.getuser()}@127.0.0.1:{port}{folder}/data", {**options, **quiet})


@pytest.fixture(scope="session")
def rclone(tmp_path_factory, free_port):
    with emulators.rclone(tmp_path_factory.mktemp("rclone"), free_port()) as port:
        yield Service(f"webdav://127.0.0.1:{port}")

"""Small files that are stored with a run together."""

from __future__ import annotations

import io

import pytest

import padre_core as padre


@pytest.fixture
def workspace():
    with padre.open("memory://") as workspace:
        yield workspace


@pytest.fixture
def run(workspace):
    with workspace.start_run("iris/svc") as run:
        yield run.id


def files(**contents):
    return [(name, io.BytesIO(data)) for name, data in contents.items()]


def test_files_large_and_small_come_back_as_they_were(workspace, run):
    contents = {"a": b"", "b": b"x" * 1_000_000, "c": b"y"}
    stored = workspace.artifacts.upload_all(run, files(**contents))
    assert {artifact.path: workspace.artifacts.read(artifact.id) for artifact in stored} == contents


def test_what_is_stored_already_gets_a_new_version_only_if_it_differs(workspace, run):
    old = {artifact.path: artifact.etag for artifact in workspace.artifacts.upload_all(run, files(a=b"1", b=b"2"))}
    new = {artifact.path: artifact.etag for artifact in workspace.artifacts.upload_all(run, files(a=b"1", b=b"3"))}
    assert new["a"] == old["a"]
    assert new["b"] != old["b"]
    assert workspace.artifacts.count() == 2


def test_what_was_deleted_is_stored_as_another_object(workspace, run):
    (old,) = workspace.artifacts.upload_all(run, files(a=b"1"))
    workspace.artifacts.delete(old)
    (new,) = workspace.artifacts.upload_all(run, files(a=b"1"))
    assert new.id != old.id
    assert workspace.artifacts.read(new.id) == b"1"

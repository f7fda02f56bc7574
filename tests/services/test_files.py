import contextlib
import io
import os

import pytest

import padre_core as padre
from padre_core.services.files import Target


def test_a_file_is_stored_with_a_run_and_comes_back(workspace, run, tmp_path):
    file = tmp_path / "model.json"
    file.write_bytes(b"{}")
    artifact = workspace.artifacts.upload(run, file)
    assert (artifact.path, artifact.size, artifact.media_type) == ("model.json", 2, "application/json")
    assert workspace.artifacts.read(artifact.id) == b"{}"


@pytest.mark.parametrize("source", [b"data", bytearray(b"data"), io.BytesIO(b"data")])
def test_bytes_and_open_files_are_stored_too(workspace, run, source):
    if isinstance(source, io.BytesIO):
        source.seek(0)
    artifact = workspace.artifacts.upload(run, source, path="folder/data.bin")
    assert workspace.artifacts.read(artifact) == b"data"


def test_an_artifact_lies_on_any_object(workspace, run):
    for owner in (workspace.projects.get("iris"), workspace.experiments.get("iris/svc"), run):
        artifact = workspace.artifacts.upload(owner, b"x", path="notes.txt")
        assert (artifact.owner, artifact.owner_kind) == (owner.id, owner.kind)
    assert workspace.artifacts.upload("iris", b"y", path="notes.txt", owner_kind="project").size == 1
    assert workspace.artifacts.count() == 3


def test_an_artifact_lies_on_no_object_of_a_kind_that_has_none(workspace, run):
    split = workspace.splits.put(padre.Split(run=run, number=0))
    with pytest.raises(padre.InvalidObjectError, match="cannot have artifacts"):
        workspace.artifacts.upload(split, b"x", path="x")


def test_the_same_path_is_a_new_version_of_the_artifact(workspace, run):
    first = workspace.artifacts.upload(run, b"one", path="x")
    second = workspace.artifacts.upload(run, b"other", path="x")
    assert second.id == first.id
    assert second.etag.startswith("2-")
    assert workspace.artifacts.read(first.id) == b"other"


def test_bytes_need_a_path(workspace, run):
    with pytest.raises(padre.InvalidObjectError, match="path="):
        workspace.artifacts.upload(run, b"x")


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a//b", "a/./b", "a\\b", "a\x00b", ""])
def test_a_path_that_leads_elsewhere_is_refused_before_anything_is_stored(workspace, run, path):
    with pytest.raises(padre.InvalidObjectError):
        workspace.artifacts.upload(run, b"x", path=path)
    assert list(workspace.backend.blobs()) == []


def test_what_is_no_regular_file_is_refused(workspace, run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path, tmp_path / "none", tmp_path / "pipe"):
        with pytest.raises(padre.InvalidObjectError):
            workspace.artifacts.upload(run, source)
    with pytest.raises(padre.InvalidObjectError, match="not int"):
        workspace.artifacts.upload(run, 5, path="x")


def test_nothing_is_read_for_an_owner_that_is_not_there(workspace):
    with pytest.raises(padre.NotFoundError):
        workspace.artifacts.upload("00000000-0000-7000-8000-000000000000", b"x", path="x")
    assert list(workspace.backend.blobs()) == []


def test_progress_is_told_while_bytes_move(workspace, run, tmp_path):
    file = tmp_path / "big"
    file.write_bytes(b"x" * 3_000_000)
    told = []
    artifact = workspace.artifacts.upload(run, file, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3_000_000, 3_000_000)
    told.clear()
    workspace.artifacts.download(artifact, tmp_path / "to", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3_000_000, 3_000_000)


def test_all_artifacts_of_an_object_are_downloaded(workspace, run, tmp_path):
    workspace.artifacts.upload(run, b"1", path="a/b/one")
    workspace.artifacts.upload(run, b"2", path="two")
    paths = workspace.artifacts.download(run, tmp_path / "to")
    assert sorted(path.read_bytes() for path in paths) == [b"1", b"2"]
    assert sorted(path.relative_to(tmp_path / "to").as_posix() for path in paths) == ["a/b/one", "two"]
    assert workspace.artifacts.download(run.id, tmp_path / "to") == paths


def test_a_download_replaces_files_and_leaves_nothing_else(workspace, run, tmp_path):
    artifact = workspace.artifacts.upload(run, b"new", path="x")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "x").write_bytes(b"old")
    workspace.artifacts.download(artifact, tmp_path / "to")
    assert [(file.name, file.read_bytes()) for file in (tmp_path / "to").iterdir()] == [("x", b"new")]


def test_a_download_follows_no_link_out_of_its_folder(workspace, run, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a").symlink_to(outside)
    (tmp_path / "to" / "x").symlink_to(outside / "x")
    workspace.artifacts.upload(run, b"1", path="a/file")
    with pytest.raises(padre.BackendError, match="cannot write"):
        workspace.artifacts.download(run, tmp_path / "to")
    workspace.artifacts.delete(workspace.artifacts.list())
    workspace.artifacts.upload(run, b"2", path="x")
    workspace.artifacts.download(run, tmp_path / "to")
    assert (tmp_path / "to" / "x").read_bytes() == b"2"
    assert not (tmp_path / "to" / "x").is_symlink()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "."])
def test_a_stored_path_is_checked_again_when_it_becomes_one(tmp_path, path):
    with pytest.raises(padre.InvalidObjectError):
        Target(tmp_path / "to").create(path, [b"x"], 1)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_no_file(tmp_path):
    def content():
        yield b"some"
        raise ValueError("the rest does not come")

    with pytest.raises(ValueError, match="the rest"), contextlib.closing(Target(tmp_path)) as target:
        target.create("x", content(), 8)
    assert list(tmp_path.iterdir()) == []


def test_rows_of_an_output_come_back(workspace, run):
    rows = {"row": [0, 1], "truth": ["a", "b"], "probabilities": [[0.1, 0.9], [0.5, 0.5]]}
    output = workspace.outputs.put(padre.Output(name="test", run=run, split=0), rows=rows)
    assert (output.rows.columns, output.rows.count) == (("row", "truth", "probabilities"), 2)
    assert workspace.outputs.rows(output.id) == rows


def test_an_output_without_rows_says_so(workspace, run):
    output = workspace.outputs.put(padre.Output(name="tree", run=run, value={"depth": 3}))
    assert workspace.outputs.get(output.id).value == {"depth": 3}
    with pytest.raises(padre.NotFoundError, match="no rows"):
        workspace.outputs.rows(output)


def test_bad_rows_store_nothing(workspace, run):
    with pytest.raises(padre.InvalidObjectError, match="same length"):
        workspace.outputs.put(padre.Output(name="test", run=run), rows={"a": [1], "b": []})
    assert workspace.outputs.count() == 0


def test_the_data_of_a_dataset_comes_back_in_each_format(workspace, tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a,b\n")
    data = {"csv": tmp_path / "x.csv", "json": b"[]"}
    dataset = workspace.datasets.put(padre.Dataset(name="digits", project="iris"), data=data)
    assert workspace.datasets.read("iris/digits", "csv") == b"a,b\n"
    assert workspace.datasets.read(dataset, "json") == b"[]"
    with pytest.raises(padre.InvalidObjectError, match="which format"):
        workspace.datasets.read(dataset)
    with pytest.raises(padre.NotFoundError, match="no format 'xml'; it has: csv, json"):
        workspace.datasets.read(dataset, "xml")


def test_the_only_format_need_not_be_named(workspace):
    dataset = workspace.datasets.put(padre.Dataset(name="digits"), data={"csv": b"a"})
    assert workspace.datasets.read(dataset) == b"a"


def test_other_data_is_another_version(workspace):
    one = workspace.datasets.put(padre.Dataset(name="digits"), data={"csv": b"1"})
    same = workspace.datasets.put(padre.Dataset(name="digits"), data={"csv": b"1"})
    other = workspace.datasets.put(padre.Dataset(name="digits"), data={"csv": b"2"})
    assert one.id == same.id != other.id
    assert workspace.datasets.count() == 2


MIB = 1024 * 1024


def test_a_large_file_is_written_whole_though_its_pieces_wait(tmp_path):
    content = [bytes([number]) * MIB for number in range(20)]
    done = []
    with contextlib.closing(Target(tmp_path)) as target:
        target.create("large", content, 20 * MIB, lambda count, total: done.append(count))
    assert (tmp_path / "large").read_bytes() == b"".join(content)
    assert done[-1] == 20 * MIB


@pytest.mark.parametrize("limit", [3 * MIB, 20 * MIB - 1], ids=["early", "in the last piece"])
def test_a_large_file_for_which_there_is_no_room_is_told_and_not_left(tmp_path, limit):
    resource = pytest.importorskip("resource", reason="limits of processes are a thing of Unix")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with contextlib.closing(Target(tmp_path)) as target, pytest.raises(padre.BackendError, match="cannot write"):
            target.create("large", [b"x" * MIB] * 20, 20 * MIB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("data.tar.gz", "application/x-tar"),
        ("v1.2/epoch-3.5.png", "image/png"),
        (".hidden.html", "text/html"),
        (".html", "application/octet-stream"),
        ("v1.html/plain", "application/octet-stream"),
    ],
)
def test_the_type_of_a_file_follows_from_the_endings_of_its_name(workspace, path, media_type):
    with workspace.start_run("files/types") as run:
        artifact = workspace.artifacts.upload(run.id, b"bytes", path=path)
    assert artifact.media_type == media_type

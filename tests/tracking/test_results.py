import contextlib
import io
import os
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import padre_core as padre
from padre_core.tracking.files import walk


@pytest.fixture
def run(workspace):
    with workspace.start_run("iris/svc") as run:
        yield run


def paths(workspace, run):
    return sorted(artifact.path for artifact in workspace.artifacts.list(within=run.id))


def test_a_file_becomes_an_artifact(workspace, run, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    artifact = run.log_artifact(tmp_path / "model.json")
    assert (artifact.path, artifact.size, artifact.media_type) == ("model.json", 2, "application/json")
    assert workspace.artifacts.read(artifact) == b"{}"


def test_a_file_may_get_another_name(workspace, run, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    assert run.log_artifact(tmp_path / "model.json", "models/best.json").path == "models/best.json"


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "", "a\\b"])
def test_a_name_that_leads_elsewhere_is_refused(run, tmp_path, name):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(padre.InvalidObjectError, match="path"):
        run.log_artifact(tmp_path / "model.json", name)


def test_what_is_no_file_is_refused(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(padre.PadreError):
            run.log_artifact(path)


def test_a_folder_becomes_artifacts_by_their_paths(workspace, run, tmp_path):
    folder = tmp_path / "results"
    (folder / "plots").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "plots" / "b.txt").write_text("b")
    assert {artifact.path for artifact in run.log_artifacts(folder)} == {"a.txt", "plots/b.txt"}
    assert paths(workspace, run) == ["a.txt", "plots/b.txt"]


def test_links_pipes_and_sockets_in_a_folder_are_left_out_and_named(workspace, run, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "more.txt").write_text("secret")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "file-link").symlink_to(tmp_path / "secret.txt")
    (folder / "folder-link").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        here = os.open(folder, os.O_RDONLY)
        unix.bind(f"/proc/self/fd/{here}/socket" if os.path.exists("/proc/self/fd") else str(folder / "socket"))
        os.close(here)
        run.log_artifacts(folder)
    assert paths(workspace, run) == ["a.txt"]
    run.flush()
    (line,) = workspace.runs.lines(run.id)
    assert line.level == "WARNING"
    assert line.text.endswith("file-link, folder-link, pipe, socket")


def test_a_folder_that_cannot_be_read_is_left_out_and_named(workspace, run, monkeypatch):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "a.txt").write_text("a")
        (folder / "below" / "closed").mkdir(parents=True)
        (folder / "below" / "closed" / "b.txt").write_text("b")
        (folder / "below" / "closed").chmod(0)
        monkeypatch.setattr("padre_core.tracking.active.walk", as_nobody(walk))
        run.log_artifacts(folder)
        (folder / "below" / "closed").chmod(0o755)
    assert paths(workspace, run) == ["a.txt"]
    run.flush()
    (line,) = workspace.runs.lines(run.id)
    assert line.text.endswith("may not be read: below/closed")


def as_nobody(walk):
    """A walk by somebody who is not the superuser, who may read everything."""

    def walked(folder):
        me = os.geteuid()
        with contextlib.ExitStack() as stack:
            if me == 0:
                os.seteuid(65534)
                stack.callback(os.seteuid, me)
            found = [(path, stream and io.BytesIO(stream.read())) for path, stream in walk(folder)]
        yield from found

    return walked


def test_a_missing_folder_is_refused(run, tmp_path):
    with pytest.raises(padre.NotFoundError):
        run.log_artifacts(tmp_path / "missing")


def test_rows_come_back_as_columns(workspace, run):
    rows = {"row": np.array([4, 7]), "truth": ["a", "b"], "probabilities": np.array([[0.5, 0.5], [0.25, 0.75]])}
    output = run.log_output("predictions", rows=rows, split=2)
    assert (output.rows.count, output.rows.columns) == (2, ("row", "truth", "probabilities"))
    assert workspace.outputs.rows(output) == {
        "row": [4, 7],
        "truth": ["a", "b"],
        "probabilities": [[0.5, 0.5], [0.25, 0.75]],
    }


def test_an_output_may_be_a_structured_value(workspace, run):
    output = run.log_output("confusion", value={"matrix": [[1, 0], [0, 1]]})
    assert workspace.outputs.get(output.id).value == {"matrix": [[1, 0], [0, 1]]}


@pytest.mark.parametrize("wrong", [{}, {"rows": {"a": [1]}, "value": 1}, {"rows": {}}, {"rows": {"a": [1], "b": []}}])
def test_an_output_is_either_rows_of_equal_length_or_a_value(run, wrong):
    with pytest.raises(padre.InvalidObjectError):
        run.log_output("predictions", **wrong)


def test_a_split_keeps_its_rows(workspace, run):
    stored = run.log_split(1, train=range(100), validation=np.array([100, 101]), test=[7, 3])
    found = workspace.splits.get(stored.id)
    assert (found.number, len(found.train), list(found.validation), list(found.test)) == (1, 100, [100, 101], [7, 3])


def test_a_split_may_name_its_dataset(workspace, run):
    dataset = workspace.datasets.put(padre.Dataset(name="digits"), data={"csv": b"1,2"})
    assert run.log_split(0, dataset=dataset).dataset == dataset.id


def test_computations_of_one_component_are_counted(workspace, run):
    first = run.log_computation("svc", parameters={"C": 1.0}, split=0)
    second = run.log_computation("svc", predecessors=[first], result={"classes": 3})
    assert [first.ordinal, second.ordinal] == [0, 1]
    assert workspace.computations.get(second.id).predecessors == (first.id,)


def test_the_next_ordinal_is_found_without_a_look_at_all_before(workspace, run, monkeypatch):
    peek, looks = workspace.records.peek, []
    monkeypatch.setattr(workspace.records, "peek", lambda *ref: looks.append(ref) or peek(*ref))
    counts = []
    for ordinal in range(20):
        looks.clear()
        assert run.log_computation("svc").ordinal == ordinal
        counts.append(len(looks))
    assert counts[2] == counts[-1]


def test_a_resumed_run_counts_on(workspace):
    with workspace.start_run() as first:
        first.log_computation("svc")
    with workspace.start_run(resume=first.id) as run:
        assert run.log_computation("svc").ordinal == 1


def test_an_unknown_field_of_a_computation_is_named(run):
    with pytest.raises(padre.InvalidObjectError, match=r"computation\.colour"):
        run.log_computation("svc", colour="red")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses such names")
def test_a_file_name_that_is_no_text_is_named_and_leaves_no_bytes(workspace, tmp_path):
    (tmp_path / "files").mkdir()
    Path(os.fsdecode(bytes(tmp_path / "files") + b"/\xff")).write_text("lost")
    run = workspace.start_run("p/e")
    before = set(workspace.backend.blobs())
    with pytest.raises(padre.InvalidObjectError, match=r"artifact\.path: '\\udcff'"):
        run.log_artifacts(tmp_path / "files")
    assert set(workspace.backend.blobs()) == before


def test_a_data_frame_is_stored_as_rows(workspace, run):
    pandas = pytest.importorskip("pandas")
    output = run.log_output("predictions", rows=pandas.DataFrame({"truth": [1, 2], "prediction": ["a", "b"]}))
    assert output.rows.count == 2
    assert workspace.outputs.rows(output) == {"truth": [1, 2], "prediction": ["a", "b"]}


@pytest.mark.parametrize("rows", [[{"truth": 1}], {"truth": 1}, {"truth": "setosa"}, {"truth": np.array(1)}, {}])
def test_rows_that_are_no_columns_are_refused_with_what_to_give(run, rows):
    with pytest.raises(padre.InvalidObjectError, match=r"list or an array|by its name, such as"):
        run.log_output("predictions", rows=rows)


def test_bytes_need_a_path_and_other_things_are_refused(run):
    assert run.log_artifact(b"weights", path="model.bin").size == 7
    with pytest.raises(padre.InvalidObjectError, match="path="):
        run.log_artifact(b"weights")
    with pytest.raises(padre.InvalidObjectError, match="the path of a file"):
        run.log_artifact(3)


def test_a_mask_in_the_place_of_row_numbers_is_refused_with_the_way_out(run):
    with pytest.raises(padre.InvalidObjectError, match="flatnonzero"):
        run.log_split(0, train=np.array([True, False]))

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import padre_core as padre
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import AccessDeniedError, ConflictError, InvalidObjectError, NotFoundError
from padre_file import FileStore, confined


@pytest.fixture(params=["openat2", "walk"], autouse=True)
def way(request, monkeypatch):
    """Both ways of opening: with the kernel's help, and one part of the path after the other."""
    if request.param == "walk":
        monkeypatch.setattr(confined, "_syscall", lambda: None)


@pytest.fixture
def store(tmp_path):
    store = FileStore(str(tmp_path / "store"))
    yield store
    store.close()


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("keep out")
    return folder


def test_a_symlink_to_a_file_is_not_read(store, outside, tmp_path):
    (tmp_path / "store" / "a").symlink_to(outside / "secret")
    with pytest.raises(AccessDeniedError, match="symlink"):
        store.read("a")
    with pytest.raises(AccessDeniedError):
        store.open_reader("a")
    assert list(store.list("")) == []


def test_a_symlink_to_a_folder_is_not_entered(store, outside, tmp_path):
    (tmp_path / "store" / "runs").symlink_to(outside)
    with pytest.raises(AccessDeniedError):
        store.read("runs/secret")
    with pytest.raises(AccessDeniedError):
        store.write("runs/new", b"x")
    with pytest.raises(AccessDeniedError):
        store.delete("runs/secret")
    assert sorted(os.listdir(outside)) == ["secret"]
    assert list(store.list("")) == []


@pytest.mark.parametrize("link", ["runs", "runs/a", "runs/a/b"])
def test_new_folders_are_not_made_behind_a_symlink(store, outside, tmp_path, link):
    (tmp_path / "store" / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "store" / link).symlink_to(outside)
    folders = [{f"runs/{name}/run.json": [b"{}"]} for name in ("0/0", "a/b/c")]
    with pytest.raises(AccessDeniedError):
        list(store.write_folders(folders))
    assert sorted(os.listdir(outside)) == ["secret"]


@pytest.mark.parametrize("key", ["../outside/new/run.json", "runs/../../outside/new/run.json", "/tmp/new/run.json"])
def test_no_new_folder_is_made_outside(store, outside, key):
    with pytest.raises((AccessDeniedError, NotFoundError)):
        list(store.write_folders([{key: [b"{}"]}]))
    assert sorted(os.listdir(outside)) == ["secret"]


def test_new_folders_leave_no_file_open(store):
    before = len(os.listdir("/dev/fd"))
    list(store.write_folders([{f"runs/{name}/run.json": [b"{}"]} for name in ("a/b/c", "a/c/d", "e/f/g")]))
    assert len(os.listdir("/dev/fd")) == before


def test_a_write_replaces_a_symlink_and_not_what_it_leads_to(store, outside, tmp_path):
    (tmp_path / "store" / "a").symlink_to(outside / "secret")
    store.write("a", b"new")
    assert store.read("a").data == b"new"
    assert (outside / "secret").read_text() == "keep out"


def test_a_symlink_in_the_place_of_the_temporary_file_is_not_followed(store, outside, tmp_path):
    (tmp_path / "store" / ".a.tmp").symlink_to(outside / "secret")
    with pytest.raises(AccessDeniedError):
        store.write("a", b"new")
    assert (outside / "secret").read_text() == "keep out"


@pytest.mark.parametrize("key", ["../outside/secret", "runs/../../outside/secret", "/etc/hostname"])
def test_no_key_leads_out(store, outside, key):
    with pytest.raises((AccessDeniedError, NotFoundError)):
        store.read(key)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.mknod(path, stat.S_IFCHR, os.makedev(1, 5))])
def test_a_pipe_or_device_is_refused_at_once(store, tmp_path, make):
    try:
        make(tmp_path / "store" / "a")
    except PermissionError:
        pytest.skip("making a device needs root")
    with pytest.raises(AccessDeniedError):
        store.read("a")


def test_the_root_may_be_a_symlink(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = FileStore(str(tmp_path / "link"))
    store.write("a/b", b"x")
    assert (tmp_path / "real" / "a" / "b").read_bytes() == b"x"
    store.close()


def test_a_folder_with_other_things_is_not_taken(outside):
    with pytest.raises(InvalidObjectError, match="no store, and not empty"):
        FileStore(str(outside))
    assert sorted(os.listdir(outside)) == ["secret"]


@pytest.mark.parametrize("url", ["file://host/a", "file:a", "file:///a?b", "file:///a%00b", "a\0b"])
def test_a_url_that_names_no_folder_is_refused(url):
    with pytest.raises(InvalidObjectError):
        FileStore(url)


def test_a_url_may_hold_escaped_characters(tmp_path):
    store = FileStore((tmp_path / "a b%c").as_uri())
    store.close()
    assert (tmp_path / "a b%c").is_dir()


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8 there")
def test_a_folder_whose_name_is_no_utf_8_is_a_store(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    with padre.open(folder) as workspace:
        workspace.projects.put(padre.Project(name="iris"))
    with padre.open((tmp_path / "caf").as_uri() + "%E9", readonly=True) as workspace:
        assert workspace.projects.get("iris").name == "iris"
    assert os.path.isfile(os.path.join(folder, "padre.json"))


def test_reading_makes_nothing(tmp_path):
    with pytest.raises(NotFoundError):
        FileStore(str(tmp_path / "none"), readonly=True)
    assert not (tmp_path / "none").exists()


def test_versions_differ_even_when_the_clock_stands_still(store):
    versions = [store.write("a", b"%d" % (number % 2)) for number in range(200)]
    assert len(set(versions)) == 200
    assert store.read("a").version == versions[-1]


def test_a_version_guards_a_write(store):
    version = store.write("a", b"1", if_match=ABSENT)
    store.write("a", b"2", if_match=version)
    with pytest.raises(ConflictError):
        store.write("a", b"3", if_match=version)
    with pytest.raises(ConflictError):
        store.write("a", b"3", if_match=ABSENT)
    assert store.read("a").data == b"2"


def test_keys_are_listed_in_byte_order_across_folders(store):
    keys = ["a", "a-b/x", "a.b", "a/b", "a/b.c", "a/b/c", "a0", "b/a"]
    for key in reversed(keys):
        if key not in ("a", "a/b"):  # a name cannot be a file and a folder at once
            store.write(key, b"x")
    listed = [entry.key for entry in store.list("")]
    assert listed == sorted(listed)
    for after in [*listed, "a/", "a/b/", "zzz", "a-b"]:
        assert [entry.key for entry in store.list("", after=after)] == [key for key in listed if key > after]
    for prefix in ["a", "a/", "a/b", "a-", "b/a", "c"]:
        assert [entry.key for entry in store.list(prefix)] == [key for key in listed if key.startswith(prefix)]


def test_a_write_that_raises_leaves_nothing(store, tmp_path):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), store.open_writer(fail) as file:
        file.write(b"half")
    assert list(store.list("")) == []
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_says_how_to_read_it(tmp_path):
    (tmp_path / "store").mkdir(mode=0o500)
    with pytest.raises(AccessDeniedError, match="readonly=True"):
        FileStore(str(tmp_path / "store"))


def test_verify_names_a_symlink_in_the_store(tmp_path, outside):
    url = (tmp_path / "lab").as_uri()
    with padre.open(url) as workspace:
        workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    (tmp_path / "lab" / "experiments" / "link").symlink_to(outside / "secret")
    with padre.open(url) as workspace:
        problems = [(problem.code, problem.where) for problem in workspace.verify()]
    assert problems == [("foreign", "experiments/link")]


def test_a_git_repository_in_the_store_is_left_alone(tmp_path):
    url = (tmp_path / "lab").as_uri()
    with padre.open(url) as workspace:
        workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "lab")], check=True)
    with padre.open(url) as workspace:
        assert list(workspace.verify()) == []
        assert [item.name for item in workspace.experiments.list()] == ["svc"]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_what_took_the_place_of_a_record_hides_only_that(tmp_path, make, caplog):
    url = (tmp_path / "lab").as_uri()
    with padre.open(url) as workspace:
        lost = workspace.projects.put(padre.Project(name="lost"))
        workspace.projects.put(padre.Project(name="kept"))
        workspace.projects.count()
    (path,) = (tmp_path / "lab").rglob(f"{lost.id}.json")
    path.unlink()
    make(path)
    with padre.open(url) as workspace:
        workspace.refresh()
        assert [project.name for project in workspace.projects.list()] == ["kept"]
        with pytest.raises(AccessDeniedError):
            workspace.projects.get(lost.id)
    assert "plain files" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_points_that_are_damaged_are_not_taken_for_absent_ones(tmp_path, damage):
    url = (tmp_path / "lab").as_uri()
    with padre.open(url) as workspace, workspace.start_run("p/e") as run:
        run.log_points("loss", range(100))
    (path,) = (tmp_path / "lab").rglob("*.points")
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(data[:-3] if damage == "cut" else data[:9] + b"xx" + data[11:])
    with padre.open(url, readonly=True) as workspace, pytest.raises(padre.CorruptObjectError):
        workspace.runs.points(run.id, "loss")


def test_a_closed_store_says_that_it_is_closed(tmp_path):
    workspace = padre.open((tmp_path / "lab").as_uri())
    workspace.close()
    with pytest.raises(padre.BackendError, match="closed"):
        workspace.projects.put(padre.Project(name="late"))


def test_a_store_is_not_made_within_another(store, tmp_path):
    inner = tmp_path / "store" / "runs" / "inner"
    store.write("padre.json", b"{}")
    with pytest.raises(InvalidObjectError, match=r"within the store .* outside"):
        FileStore(str(inner))
    assert not inner.parent.exists()


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_whom_the_umask_allows_may_write_in_a_store(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with padre.open(tmp_path / "shared") as workspace, workspace.start_run() as run:
            run.log_metric("loss", 1.0)
            run.log_output("large", rows={"row": list(range(20_000))})
            modes = [_modes(tmp_path / "shared")]
        modes.append(_modes(tmp_path / "shared"))
    finally:
        os.umask(before)
    assert modes == [{mode}, {mode}]


def _modes(folder):
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}

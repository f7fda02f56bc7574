"""Places that fail for real, and a store with something of everything in it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

import padre_core as padre


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path) -> Path:
    """A closed store; `check` knows what is in it."""
    folder = tmp_path / "store"
    fill(folder)
    return folder


def fill(folder: Path) -> None:
    with padre.open(folder) as workspace:
        workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="é"))
        with workspace.start_run("iris/svc", name="first", parameters={"C": 1.0}) as run:
            for step in range(5):
                run.log_metric("loss", 1 / (step + 1))
            run.log("a line")
            run.log_split(0, train=[0, 1, 2], test=[3])
            workspace.artifacts.upload(run.id, BytesIO(b"bytes of a model"), path="model.bin")


@pytest.fixture
def check() -> Callable[[padre.Workspace], None]:
    """Fails unless a workspace gives all that `fill` stored."""

    def check(workspace: padre.Workspace) -> None:
        assert workspace.experiments.get("iris/svc").title == "é"
        (run,) = workspace.runs.list("name == 'first'")
        assert (run.status, run.parameters) == ("finished", {"C": 1.0})
        assert list(workspace.runs.points(run, "loss").values) == [1 / (step + 1) for step in range(5)]
        assert [line.text for line in workspace.runs.lines(run)] == ["a line"]
        assert workspace.artifacts.read(next(iter(workspace.artifacts.list(within=run)))) == b"bytes of a model"

    return check


@contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    """Mounts something for a while; skips the test where that is not allowed."""
    target = str(arguments[-1])
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)


@pytest.fixture
def small_disk(tmp_path, request) -> Iterator[Path]:
    """A file system of 4 MB, or of the size that a test asks for."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted("-t", "tmpfs", "-o", f"size={getattr(request, 'param', '4m')}", "tmpfs", folder):
        yield folder


@pytest.fixture
def read_only() -> Callable:
    """Makes a folder read-only for a while, for root too."""

    @contextmanager
    def read_only(folder: Path) -> Iterator[None]:
        if os.geteuid():
            folder.chmod(0o555)
            try:
                yield
            finally:
                folder.chmod(0o755)
        else:
            with mounted("--bind", "-o", "ro", folder, folder):
                yield

    return read_only


@pytest.fixture
def unreadable() -> Callable:
    """Makes reads of a file fail with EIO for a while: the kernel answers so for the first page of any process."""

    def unreadable(file: Path) -> object:
        return mounted("--bind", "/proc/self/mem", file)

    return unreadable

import fcntl
import os
import sys

import pytest

from padre_core.streams import filesystems
from padre_core.streams.filesystems import datasync, sync_tree


@pytest.mark.skipif(sys.platform != "linux", reason="needs a system whose files refuse F_FULLFSYNC")
def test_on_macos_a_file_system_that_cannot_empty_the_drives_cache_is_synced_as_others_are(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with open(tmp_path / "file", "wb") as file:
        datasync(file.fileno())
        assert synced == [file.fileno()]
    with pytest.raises(OSError, match="Bad file descriptor"):
        datasync(10**6)


def test_without_a_call_for_the_whole_file_system_every_file_and_folder_below_is_synced(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystems, "_syncfs", lambda: None)
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs" / "1e").mkdir(parents=True)
    (tmp_path / "runs" / "1e" / "run.json").write_bytes(b"{}")
    (tmp_path / "padre.json").write_bytes(b"{}")
    synced = []
    monkeypatch.setattr(filesystems, "datasync", lambda fd: synced.append(os.fstat(fd).st_ino))
    folder = os.open(tmp_path, os.O_RDONLY)
    sync_tree(folder)
    os.close(folder)
    below = [path.stat().st_ino for path in tmp_path.rglob("*")]
    assert set(synced) == {tmp_path.stat().st_ino, *below}

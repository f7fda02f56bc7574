import subprocess
import sys

import pytest

import padre_core as padre
from padre_core.configuration import RemoteSettings, add_remote, remove_remote, settings_of


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CONFIG", str(tmp_path / "settings"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_a_store_that_no_file_names_has_its_remotes_in_the_users_settings(tmp_path):
    file = add_remote("file:///data/lab", RemoteSettings("team", "memory://team", "manual"))
    assert file == tmp_path / "settings" / "stores.toml"
    found = settings_of("file:///data/lab")
    assert (found.remotes, found.default) == ({"team": RemoteSettings("team", "memory://team", "manual")}, "team")
    assert settings_of("file:///data/other").remotes == {}


def test_the_remotes_of_a_folder_go_to_its_padre_toml_whose_comments_stay(folder):
    (folder / "padre.toml").write_text('# ours\nurl = "runs"  # here\n')
    add_remote(str(folder / "runs"), RemoteSettings("team", "memory://team"))
    add_remote(str(folder / "runs"), RemoteSettings("nas", "file:///nas/lab"), default=True)
    text = (folder / "padre.toml").read_text()
    assert text.startswith('# ours\nurl = "runs"  # here\n')
    found = settings_of(str(folder / "runs"))
    assert (list(found.remotes), found.default) == (["team", "nas"], "nas")


def test_the_default_passes_on_when_it_is_removed(folder):
    for name in ("a", "b"):
        add_remote("memory://x", RemoteSettings(name, f"memory://{name}"))
    remove_remote("memory://x", "a")
    assert settings_of("memory://x").default == "b"
    remove_remote("memory://x", "b")
    assert settings_of("memory://x").remotes == {}
    with pytest.raises(padre.NotFoundError, match="no remote 'b'"):
        remove_remote("memory://x", "b")


@pytest.mark.parametrize(
    "remote",
    [
        RemoteSettings("a/b", "memory://a"),
        RemoteSettings("a", "memory://x"),
        RemoteSettings("a", "https://me:hunter2@lab.example.org"),
        RemoteSettings("a", "memory://a", "never"),
    ],
)
def test_a_remote_that_cannot_be_is_refused_and_nothing_is_written(tmp_path, remote):
    with pytest.raises(padre.InvalidObjectError) as caught:
        add_remote("memory://x", remote)
    assert "hunter2" not in str(caught.value)
    assert not (tmp_path / "settings").exists()


ADDING = """
import sys
from padre_core.configuration import RemoteSettings, add_remote
for number in range(20):
    name = f"{sys.argv[1]}-{number}"
    add_remote("memory://x", RemoteSettings(name, f"memory://{name}"))
"""


def test_processes_that_add_remotes_at_once_lose_none():
    adding = [subprocess.Popen([sys.executable, "-c", ADDING, name]) for name in ("a", "b", "c")]
    assert [process.wait(300) for process in adding] == [0, 0, 0]
    assert len(settings_of("memory://x").remotes) == 60


def test_settings_that_cannot_be_written_are_an_error_of_padre(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PADRE_CONFIG", str(tmp_path / "file" / "settings"))
    with pytest.raises(padre.BackendError, match="cannot be written: Not a directory"):
        add_remote("memory://x", RemoteSettings("a", "memory://a"))


def test_a_name_is_taken_once_only():
    add_remote("memory://x", RemoteSettings("a", "memory://a"))
    with pytest.raises(padre.AlreadyExistsError, match="memory://a"):
        add_remote("memory://x", RemoteSettings("a", "memory://b"))


@pytest.mark.parametrize(
    "text", ["remotes = 5", "[remotes]\na = 5", '[remotes.a]\nurl = 5', '[remotes.a]\nurl = "memory://a"\nport = 1',
             'default_remote = "a"'],
)  # fmt: skip
def test_malformed_settings_are_refused_with_the_files_name(folder, text):
    (folder / "padre.toml").write_text(f'url = "memory://x"\n{text}\n')
    with pytest.raises(padre.InvalidObjectError, match=r"padre\.toml"):
        settings_of("memory://x")

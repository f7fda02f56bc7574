"""What a server sends is looked at before it is taken up; what a repository says is never run."""

import os

import pytest

import padre_core as padre
from padre_core.backends import layout
from padre_core.workspace import Workspace
from padre_git import merge
from padre_git.clone import CloneBackend

from .by_hand import bare, git

MARKER = layout.encode_marker("00000000-0000-4000-8000-000000000000")


@pytest.fixture(name="bare")
def made(tmp_path):
    return bare(tmp_path / "lab.git")


def blob(repository, data):
    return git(repository, "hash-object", "-w", "--stdin", data=data)


def tree(repository, *entries):
    """A tree, unchecked: mode, name and id of each entry."""
    data = b"".join(b"%b %b\0%b" % (mode.encode(), name.encode(), bytes.fromhex(id)) for mode, name, id in entries)
    return git(repository, "hash-object", "-w", "--literally", "-t", "tree", "--stdin", data=data)


def commit(repository, *entries, marker=MARKER):
    marked = [("100644", "padre.json", blob(repository, marker))] if marker else []
    root = tree(repository, *sorted([*entries, *marked], key=lambda entry: entry[1]))
    made = git(repository, "commit-tree", "-m", "x", root)
    git(repository, "update-ref", "refs/heads/padre", made)
    return made


def opened(bare, tmp_path, **options):
    return Workspace(CloneBackend(f"git+{bare.as_uri()}", clone=tmp_path / "a.git", **options))


def objects(path):
    return [found for found in (path / "objects").rglob("*") if found.is_file()]


@pytest.mark.parametrize("mode", ["120000", "160000"])
@pytest.mark.parametrize("deep", [False, True])
def test_links_and_submodules_are_refused_and_nothing_is_kept(bare, tmp_path, mode, deep):
    target = blob(bare, b"/etc/passwd") if mode == "120000" else "1" * 40
    entry = (mode, "evil", target)
    commit(bare, ("40000", "runs", tree(bare, entry)) if deep else entry)
    with pytest.raises(padre.CorruptObjectError, match="no plain file"):
        opened(bare, tmp_path)
    assert objects(tmp_path / "a.git") == []


@pytest.mark.parametrize("name", [".git", ".GIT", "..", ".", "git~1"])
def test_names_that_would_escape_are_refused(bare, tmp_path, name):
    commit(bare, ("40000", name, tree(bare, ("100755", "config", blob(bare, b"[core]\n\tpager = touch pwned\n")))))
    with pytest.raises(padre.CorruptObjectError):
        opened(bare, tmp_path)
    assert objects(tmp_path / "a.git") == []


@pytest.mark.parametrize("name", ["a\x1b[31m", "tab\there", "back\\slash", "\u202eevil"])
def test_names_that_would_confuse_a_terminal_are_refused(bare, tmp_path, name):
    commit(bare, ("100644", name, blob(bare, b"x")))
    with pytest.raises(padre.CorruptObjectError) as refused:
        opened(bare, tmp_path)
    assert "\x1b" not in str(refused.value)
    assert "\u202e" not in str(refused.value)


def test_a_tree_that_holds_itself_a_million_times_is_given_up(bare, tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "MAX_NEW", 10_000)
    inner = tree(bare, ("100644", "x", blob(bare, b"x")))
    for _ in range(8):
        inner = tree(bare, *(("40000", f"d{number}", inner) for number in range(10)))
    commit(bare, ("40000", "runs", inner))
    with pytest.raises(padre.CorruptObjectError, match="more than 10000"):
        opened(bare, tmp_path)


def test_a_tree_that_is_too_deep_is_given_up(bare, tmp_path):
    inner = tree(bare, ("100644", "x", blob(bare, b"x")))
    for _ in range(40):
        inner = tree(bare, ("40000", "d", inner))
    commit(bare, ("40000", "runs", inner))
    with pytest.raises(padre.CorruptObjectError, match="deeper"):
        opened(bare, tmp_path)


def test_a_fetch_that_brings_too_much_is_ended(bare, tmp_path):
    commit(bare, ("100644", "large", blob(bare, os.urandom(30_000_000))))
    with pytest.raises(padre.CorruptObjectError, match="max_fetch"):
        opened(bare, tmp_path, max_fetch=1_000_000)
    assert objects(tmp_path / "a.git") == []
    assert not list((tmp_path / "a.git").glob("padre-transfer-*"))


def test_a_branch_that_is_no_store_is_refused(bare, tmp_path):
    commit(bare, ("100644", "README.md", blob(bare, b"code")), marker=None)
    with pytest.raises(padre.InvalidObjectError, match="no store"):
        opened(bare, tmp_path)


def test_a_newer_format_is_refused(bare, tmp_path):
    commit(bare, marker=b'{"check":"0000000000000000","format":2,"store":"x"}\n')
    with pytest.raises(padre.InvalidObjectError, match="newer"):
        opened(bare, tmp_path)


def test_another_store_in_the_place_of_the_old_one_changes_nothing_here(bare, tmp_path):
    with opened(bare, tmp_path) as lab:
        lab.projects.put(padre.Project(name="iris"))
        lab.backend.publish()
        commit(bare)
        with pytest.raises(padre.InvalidObjectError, match="holds the store"):
            lab.backend.pull()
        lab.projects.put(padre.Project(name="later"))
        with pytest.raises(padre.InvalidObjectError, match="padre copy"):
            lab.backend.publish()
        assert {found.name for found in lab.projects.list()} == {"iris", "later"}


def test_what_was_pushed_by_force_does_not_take_anything_away(bare, tmp_path):
    with opened(bare, tmp_path) as lab:
        lab.projects.put(padre.Project(name="iris"))
        lab.backend.publish()
        before = git(bare, "rev-parse", "padre")
        lab.projects.put(padre.Project(name="tree"))
        lab.backend.publish()
        git(bare, "update-ref", "refs/heads/padre", before)
        lab.backend.pull()
        lab.backend.publish()
        assert {found.name for found in lab.projects.list()} == {"iris", "tree"}
        assert git(bare, "rev-parse", "padre") == git(tmp_path / "a.git", "rev-parse", "padre")


def test_neither_configuration_nor_hooks_of_a_clone_are_run(bare, tmp_path, monkeypatch):
    with opened(bare, tmp_path) as lab:
        pwned = tmp_path / "pwned"
        clone = tmp_path / "a.git"
        for hook in ("pre-push", "reference-transaction", "post-update", "pre-auto-gc", "post-checkout"):
            (clone / "hooks").mkdir(exist_ok=True)
            (clone / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {pwned}\n")
            (clone / "hooks" / hook).chmod(0o755)
        run = f"sh -c 'touch {pwned}'"
        for key in ("core.sshCommand", "core.fsmonitor", "core.alternateRefsCommand", "remote.origin.uploadpack"):
            git(clone, "config", key, run)
        git(clone, "config", "credential.helper", f"!touch {pwned}")
        git(clone, "config", "protocol.ext.allow", "always")
        git(clone, "config", f"url.ext::{run}.insteadOf", f"file://{bare}")
        for number, (key, value) in enumerate([("core.hooksPath", str(clone / "hooks")), ("core.pager", run)]):
            monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
            monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
        monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
        monkeypatch.setenv("GIT_EXTERNAL_DIFF", run)
        lab.projects.put(padre.Project(name="iris"))
        lab.backend.publish()
        lab.backend.pull()
        assert git(bare, "rev-parse", "padre")
        assert not pwned.exists()


def test_refs_with_odd_names_are_of_no_interest(bare, tmp_path):
    made = commit(bare)
    packed = "".join(f"{made} refs/heads/{name}\n" for name in ("--upload-pack=touch", "$(touch x)"))
    (bare / "packed-refs").write_text(packed)
    with opened(bare, tmp_path) as lab:
        lab.backend.pull()
    found = git(tmp_path / "a.git", "for-each-ref", "--format=%(refname)").split()
    assert sorted(found) == ["refs/heads/padre", "refs/remotes/origin/padre"]

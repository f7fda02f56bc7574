"""Packs: what a commit stores, and how many small ones become one."""

import os
from pathlib import Path

import pytest

import padre_core as padre
from padre_git import branch, packs, tidying
from padre_git.packs import Pack
from padre_git.store import GitStore
from padre_git.tidying import tidy

from .by_hand import bare, fsck, git


def sound(repository: Path) -> None:
    fsck(repository)
    assert "garbage: 0" in git(repository, "count-objects", "-v")


def packs_in(repository: Path) -> list[Path]:
    return sorted((repository / "objects" / "pack").glob("*.pack"))


@pytest.fixture
def lab(tmp_path: Path) -> GitStore:
    return GitStore(f"git+{(tmp_path / 'lab.git').as_uri()}")


def test_a_commit_is_one_pack_that_git_finds_sound(lab, tmp_path):
    # Names that git orders otherwise than bytes: a folder counts with a slash behind it.
    keys = ["a/b", "a-b", "a.b", "a0", "ab/c/d", "ab/c/e", "z"]
    with lab.batch("Store"):
        for number, key in enumerate(keys):
            lab.write(key, key.encode() * 10**number)
            assert lab.read(key).data == key.encode() * 10**number
            assert lab.stat(key).size == len(key) * 10**number
    repository = tmp_path / "lab.git"
    assert len(packs_in(repository)) == 1
    assert "count: 0" in git(repository, "count-objects", "-v")
    sound(repository)
    for number, key in enumerate(keys):
        assert git(repository, "cat-file", "-p", f"padre:{key}") == key * 10**number
    lab.delete("ab/c/d")
    lab.delete("a/b")
    sound(repository)
    listed = git(repository, "ls-tree", "-r", "--name-only", "padre").splitlines()
    assert listed == sorted({*keys} - {"ab/c/d", "a/b"})


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000])
def test_a_tree_of_any_size_is_stored_as_zlib_reads_it(tmp_path, size):
    pack, data = Pack(tmp_path, power=False), os.urandom(size)
    assert pack.get(pack.add("tree", data)) == data


def test_a_folder_of_many_files_is_found_sound(lab, tmp_path):
    with lab.batch("Store"):
        for number in range(5000):
            lab.write(f"a/{number}", b"1")
    sound(tmp_path / "lab.git")
    assert len(git(tmp_path / "lab.git", "ls-tree", "padre:a").splitlines()) == 5000


def test_a_batch_that_fails_leaves_nothing(lab, tmp_path):
    with pytest.raises(ZeroDivisionError), lab.batch("Store"):
        lab.write("a", b"1")
        raise ZeroDivisionError
    assert not packs_in(tmp_path / "lab.git")
    assert not os.listdir(tmp_path / "lab.git" / "objects" / "pack")


def test_more_than_memory_should_hold_becomes_several_packs(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "_FLUSH", 100_000)
    with lab.batch("Store"):
        for number in range(10):
            lab.write(f"k{number}", os.urandom(30_000))
        assert len(lab.read("k0").data) == 30_000
    assert len(packs_in(tmp_path / "lab.git")) > 1
    assert len(list(lab.list("k"))) == 10
    sound(tmp_path / "lab.git")


def test_many_commits_leave_few_packs_and_who_read_before_reads_on(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(tidying, "FEW", 4)
    monkeypatch.setattr(branch, "_TIDY", 1)
    reader = GitStore(lab.url, readonly=True)
    for number in range(60):
        lab.write(f"runs/{number}", b"%d" % number)
        assert reader.read(f"runs/{number // 2}").data == b"%d" % (number // 2)
    assert len(packs_in(tmp_path / "lab.git")) <= 12
    assert [reader.read(f"runs/{number}").data for number in range(60)] == [b"%d" % number for number in range(60)]
    assert len(git(tmp_path / "lab.git", "rev-list", "padre").split()) == 60
    sound(tmp_path / "lab.git")


def test_each_byte_is_copied_a_few_times_only(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(tidying, "FEW", 4)
    monkeypatch.setattr(branch, "_TIDY", 1)
    copied = []
    real = tidying.read_pack
    monkeypatch.setattr(tidying, "read_pack", lambda file: copied.append(file.size) or real(file))
    for number in range(120):
        lab.write(f"runs/{number}", os.urandom(2000))
    total = sum(path.stat().st_size for path in packs_in(tmp_path / "lab.git"))
    assert 0 < sum(copied) < 8 * total


def test_what_a_user_marked_or_is_damaged_stays_as_it_is(lab, tmp_path, monkeypatch):
    repository = tmp_path / "lab.git"
    lab.write("kept", b"1")
    (kept,) = packs_in(repository)
    kept.with_suffix(".keep").touch()
    lab.write("damaged", os.urandom(100))
    (damaged,) = set(packs_in(repository)) - {kept}
    os.chmod(damaged, 0o644)
    data = bytearray(damaged.read_bytes())
    data[20] ^= 1
    damaged.write_bytes(data)
    for number in range(8):
        lab.write(f"{number}", b"%d" % number)
    monkeypatch.setattr(tidying, "FEW", 4)
    tidy(repository / "objects" / "pack", power=True)
    assert {damaged, kept} < set(packs_in(repository))
    assert len(packs_in(repository)) == 3


@pytest.mark.parametrize("offsets", ["true", "false"])
@pytest.mark.parametrize("reverse", ["true", "false"])
def test_packs_whose_objects_are_differences_from_others_are_merged_as_they_are(
    lab, tmp_path, monkeypatch, offsets, reverse
):
    text = b"".join(b"line %d\n" % line for line in range(500))
    here, there = tmp_path / "lab.git", tmp_path / "there.git"
    bare(there)
    options = ("fetch.unpackLimit=1", f"repack.useDeltaBaseOffset={offsets}", f"pack.writeReverseIndex={reverse}")
    configured = [word for option in options for word in ("-c", option)]
    for number in range(24):
        lab.write("text", text + b"%d" % number)
        if number % 3 == 2:  # what is sent goes on from what came before
            git(there, *configured, "fetch", "-q", here.as_uri(), "padre:padre")
    assert len(packs_in(there)) == 8
    before = differences(there)
    size = sum(path.stat().st_size for path in packs_in(there))
    monkeypatch.setattr(tidying, "FEW", 4)
    tidy(there / "objects" / "pack", power=True)
    (merged,) = packs_in(there)
    assert merged.stat().st_size < size
    assert before > differences(there) > 10
    sound(there)
    for number in range(24):
        assert git(there, "show", f"padre~{23 - number}:text") == text.decode() + str(number)
    assert GitStore(f"git+{there.as_uri()}").read("text").data == text + b"23"


def differences(repository: Path) -> int:
    """How many objects are stored as differences from others."""
    told = [git(repository, "verify-pack", "-v", str(path)) for path in packs_in(repository)]
    return sum(len(line.split()) == 7 for lines in told for line in lines.splitlines())


def test_what_a_killed_process_left_half_made_goes_and_what_is_being_made_stays(lab, tmp_path):
    folders = tmp_path / "lab.git" / "objects" / "pack", lab.branch.staged.folder
    lab.write("blobs/aa/" + "aa" * 32, b"waits")
    old, new = [], []
    for folder, begin in zip(folders, (packs.TEMPORARY, "."), strict=True):
        for name, found in (("old", old), ("new", new)):
            found.append(folder / f"{begin}{name}")
            found[-1].touch()
        os.utime(old[-1], (1e9, 1e9))
    GitStore(lab.url, readonly=True)
    assert all(path.exists() for path in [*old, *new])
    again = GitStore(lab.url)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in new)
    assert again.read("blobs/aa/" + "aa" * 32).data == b"waits"


def test_a_pack_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    pack = Pack(tmp_path, power=True)
    pack.add("blob", b"1")
    monkeypatch.setattr(packs, "datasync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(padre.BackendError, match="No space"):
        pack.store()
    assert not os.listdir(tmp_path)

"""Trees that are changed level by level."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from padre_core.errors import CorruptObjectError
from padre_git import folders
from padre_git.folders import Folder, Folders
from padre_git.packs import Pack
from padre_git.trees import keys

from .by_hand import bare, output

NAMES = st.sampled_from(["a", "a.b", "a0", "b", "runs", "runs-", "runs.json"])
KEYS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CHANGES = st.lists(st.dictionaries(KEYS, st.sampled_from([b"one", b"two", None]), max_size=6), max_size=6)


class Noting(Pack):
    """A pack that notes what is added to it."""

    def __init__(self, folder, stored):
        super().__init__(folder, power=False)
        self._stored = stored

    def add(self, kind, data):
        id = super().add(kind, data)
        self._stored[id] = data
        return id


def fits(keys):
    """Whether no key is a folder of another one."""
    return not any(other.startswith(f"{key}/") for key in keys for other in keys)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    path = tmp_path_factory.mktemp("folders") / "lab.git"
    bare(path)
    return path


@settings(max_examples=30, deadline=None)
@given(changes=CHANGES)
def test_any_changes_give_the_tree_that_git_reads_as_exactly_what_was_set(repository, changes):
    folders = Folders(lambda tree: output(repository, "cat-file", "tree", tree))
    tree, held = None, {}
    for change in changes:
        after = {key: data for key, data in {**held, **change}.items() if data is not None}
        if not fits({*after, *change, *held}):
            continue
        pack = Pack(repository / "objects" / "pack", power=False)
        entries = {key: None if data is None else pack.add("blob", data) for key, data in change.items()}
        tree, held = folders.rebuilt(tree, entries, pack), after
        pack.store()
        listed = output(repository, "ls-tree", "-r", "-z", "--format=%(path)", tree).decode().split("\0")[:-1]
        assert {key: output(repository, "cat-file", "blob", f"{tree}:{key}") for key in listed} == held
        output(repository, "fsck", "--strict", tree)


def test_a_file_takes_the_place_of_a_folder_and_the_other_way_round():
    folder = Folder([], [])
    for mode in (b"40000", b"100644", b"40000"):
        folder.set(b"a", mode, "ab" * 20)
        assert folder.encode() == mode + b" a\0" + bytes.fromhex("ab" * 20)
        assert folder.subfolder(b"a") == ("ab" * 20 if mode == b"40000" else None)


def test_a_tree_that_is_cut_or_mixed_up_is_damaged():
    whole = b"100644 a\0" + bytes(20) + b"40000 b\0" + bytes(range(20))
    assert Folder.parse(whole, "it").encode() == whole
    for broken in (whole[:-1], whole[2:], b"x" + whole, whole + b"40000 c\0"):
        with pytest.raises(CorruptObjectError, match="it is no sound tree"):
            Folder.parse(broken, "it")


def test_a_tree_out_of_order_is_damaged_and_a_folder_counts_with_a_slash_behind_its_name():
    one, other = b"40000 a\0" + bytes(20), b"100644 a.b\0" + bytes(20)
    assert Folder.parse(other + one, "it").encode() == other + one
    with pytest.raises(CorruptObjectError, match="it is out of order"):
        Folder.parse(one + other, "it")


def test_an_old_tree_with_a_zero_before_its_modes_is_read():
    folder = Folder.parse(b"040000 a\0" + bytes(20), "it")
    assert folder.subfolder(b"a") == "00" * 20


def test_few_folders_are_remembered_and_those_that_were_forgotten_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_KEPT", 100)
    stored, read = {}, []
    made = Folders(lambda tree: read.append(tree) or stored[tree])
    tree = None
    for number in range(200):
        tree = made.rebuilt(tree, {f"{number % 20}/{number}": "ab" * 20}, Noting(tmp_path, stored))
    assert len(read) > 100
    found = sorted(keys(stored.__getitem__, tree, where="it"), key=lambda key: int(key.partition("/")[2]))
    assert found == [f"{number % 20}/{number}" for number in range(200)]


def test_what_lies_under_a_key_is_found_be_it_a_file_or_a_folder(tmp_path):
    stored = {}
    made = Folders(stored.__getitem__)
    tree = made.rebuilt(None, {"a/b/c": "ab" * 20, "a.b": "cd" * 20}, Noting(tmp_path, stored))
    assert [made.find(tree, key) for key in ("a/b/c", "a.b")] == ["ab" * 20, "cd" * 20]
    for key in ("a", "a/b"):
        assert list(keys(stored.__getitem__, made.find(tree, key), where="it")) == ["a/b/c"[len(key) + 1 :]]
    assert [made.find(tree, key) for key in ("b", "a/c", "a.b/c", "a/b/c/d")] == [None] * 4
    assert made.find(None, "a") is None

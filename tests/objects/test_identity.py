import uuid
from collections import Counter
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core.backends.layout import shard
from padre_core.errors import InvalidObjectError
from padre_core.objects.identity import (
    NEIGHBOURS,
    check_digest,
    check_id,
    check_key,
    check_keys,
    check_name,
    is_id,
    new_run_id,
    object_id,
    run_child_id,
    run_of,
)


def test_two_machines_give_the_same_name_the_same_id():
    assert object_id("project", None, "iris") == "15626e4f-d09b-5a41-9ed5-0f70e5b08253"


def test_an_id_follows_from_the_documented_rule():
    namespace = uuid.uuid5(uuid.NAMESPACE_DNS, "padre-core")
    assert object_id("project", None, "iris") == str(uuid.uuid5(namespace, '["project",null,"iris"]'))
    assert object_id("project", None, "iris", generation=2) == str(uuid.uuid5(namespace, '["project",null,"iris",2]'))


def test_a_name_has_one_id_however_its_accents_are_written():
    assert object_id("project", None, "caf\u00e9") == object_id("project", None, "cafe\u0301")


def test_kinds_parents_and_generations_have_ids_of_their_own():
    ids = {
        object_id("project", None, "iris"),
        object_id("dataset", None, "iris"),
        object_id("project", object_id("project", None, "iris"), "iris"),
        object_id("project", None, "iris", generation=1),
    }
    assert len(ids) == 4


def test_what_lives_in_a_run_names_its_run():
    run = new_run_id()
    child = run_child_id(run, "metric", "loss", None, None)
    assert run_of(child) == run
    assert is_id(child)
    assert run_of(run) is None


def test_runs_are_ordered_by_the_time_of_their_making():
    ids = [new_run_id() for _ in range(100)]
    assert sorted(ids) == ids
    assert {uuid.UUID(id).version for id in ids} == {7}


def test_runs_made_one_after_the_other_share_folders_and_no_folder_gets_many():
    ids = [new_run_id() for _ in range(10 * NEIGHBOURS)]
    assert len(set(ids)) == len(ids)
    sizes = Counter(shard(id) for id in ids)
    assert 10 <= len(sizes) <= 11
    assert max(sizes.values()) == NEIGHBOURS


@pytest.mark.parametrize(
    "name", ["", "a/b", "a\x00b", "a\nb", "a\u202eb", "x" * 256, ".", "..", "\ud800", "é" * 128, 7]
)
def test_a_bad_name_is_refused(name):
    with pytest.raises(ValueError, match=r"must|holds|expected"):
        check_name(name)


@pytest.mark.parametrize("name", ["iris", "Ünï cødé", "a.b", "CON", "-x", "x" * 255, "日本"])
def test_a_name_may_hold_what_people_write(name):
    assert check_name(name) == name


def test_a_name_must_not_look_like_an_id():
    with pytest.raises(ValueError, match="must not look like an object id"):
        check_name(object_id("project", None, "iris"))


def test_a_key_may_hold_a_slash():
    assert check_key("train/loss") == "train/loss"


@given(st.text())
def test_no_text_but_an_id_becomes_a_key_of_a_store(text):
    if not is_id(text):
        with pytest.raises(InvalidObjectError):
            check_id(text)


@pytest.mark.parametrize("text", ["../" * 21 + "x", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_hex_digits_are_a_digest(text):
    with pytest.raises(InvalidObjectError):
        check_digest(text)


def test_a_key_is_remembered_as_the_text_that_it_is():
    class Name(str, Enum):  # noqa: UP042  # whose text is not its value
        LOSS = "a key that no other test has"

    for key in (Name.LOSS, "a key that no other test has"):
        (found,) = check_keys((key,))
        assert type(found) is str
        assert found == "a key that no other test has"

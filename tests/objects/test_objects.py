import math
from datetime import UTC, datetime, timedelta, timezone
from time import tzset

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core.errors import InvalidObjectError, PluginConflictError
from padre_core.objects import canonical
from padre_core.objects.artifact import Artifact
from padre_core.objects.base import PadreObject
from padre_core.objects.code import Code
from padre_core.objects.dataset import Attribute, Dataset
from padre_core.objects.experiment import Experiment
from padre_core.objects.indices import Indices
from padre_core.objects.kinds import kind_of, kinds, register_kind
from padre_core.objects.project import Project
from padre_core.objects.run import Run, RunStatus
from padre_core.objects.split import Split

RUN = "018f3a5e-0000-7000-8000-000000000000"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(json_values)
def test_any_json_value_comes_back_as_it_was(value):
    run = Run(execution="x", metadata={"value": value})
    again = Run.from_content(run.content())
    assert canonical.to_json(again.metadata) == canonical.to_json(canonical.plain(run.metadata))
    assert again.content() == run.content()


@given(st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 9)))
def test_the_order_of_keys_does_not_change_the_content(parameters):
    turned = dict(reversed(parameters.items()))
    assert Run(execution="x", parameters=parameters).content() == Run(execution="x", parameters=turned).content()


def test_the_canonical_form_is_pinned():
    run = Run(execution="x", parameters={"b": math.nan, "a": [1, 1.0, 1e16, "é\n", None, -math.inf]}, tags={"k": ""})
    assert run.content() == (
        b'{"execution":"x","parameters":{"a":[1,1.0,1e+16,"\xc3\xa9\\n",null,-Infinity],"b":NaN},"tags":{"k":""}}'
    )


def test_a_field_at_its_default_is_not_part_of_the_content():
    assert Run(execution="x", status="created", parameters={}).content() == b'{"execution":"x"}'


def test_bookkeeping_is_not_part_of_the_content():
    one = Project(name="iris")
    other = Project(name="iris", created_by="ada", created_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert one.content() == other.content()


def test_numpy_numbers_become_json():
    run = Run(execution="x", parameters={"C": np.float64(0.5), "n": np.int64(3), "grid": np.arange(3)})
    assert run.parameters == {"C": 0.5, "n": 3, "grid": [0, 1, 2]}


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Project(name="a/b"), "project.name"),
        (Project, "project.name"),
        (lambda: Project(name="a", colour="red"), "project.colour"),
        (lambda: Experiment(name="a"), "experiment.project"),
        (lambda: Run(execution="x", parameters={"a": {1, 2}}), "run.parameters"),
        (lambda: Run(execution="x", parameters={"": 1}), "run.parameters"),
        (lambda: Run(execution="x", parameters={"n": 2**63}), "run.parameters"),
        (lambda: Run(execution="x", tags={"a": 1}), "run.tags"),
        (lambda: Run(execution="x", status="asleep"), "run.status"),
        (lambda: Split(run=RUN, number=-1), "split.number"),
        (lambda: Split(run=RUN, number=0, train=[-1]), "split.train"),
        (lambda: Artifact(owner=RUN, path="../up", digest="0" * 64, size=1), "artifact.path"),
        (lambda: Artifact(owner=RUN, path="a", digest="xyz", size=1), "artifact.digest"),
    ],
)
def test_an_error_names_the_field(make, field):
    with pytest.raises(InvalidObjectError, match=field):
        make()


def test_an_assignment_is_checked_too():
    project = Project(name="iris")
    with pytest.raises(InvalidObjectError, match=r"project\.name"):
        project.name = "a/b"
    assert project.name == "iris"


def test_what_was_changed_in_place_is_checked_before_it_is_stored():
    run = Run(execution="x")
    run.metadata["deep"] = value = {}
    for _ in range(40):
        value["more"] = value = {}
    with pytest.raises(InvalidObjectError, match=r"metadata\.deep"):
        run.content()


def test_too_large_a_content_is_refused_and_not_cut():
    with pytest.raises(InvalidObjectError, match="at most 16 MiB"):
        Run(execution="x", description="x" * (canonical.MAX_CONTENT + 1)).content()


@pytest.mark.parametrize("value", [[0] * (canonical.MAX_VALUES + 1), [[[]]] * (canonical.MAX_VALUES // 3)])
def test_too_many_values_are_refused(value):
    with pytest.raises(InvalidObjectError, match="more than 2,000,000 values"):
        Run(execution="x", metadata={"a": value}).content()


@pytest.mark.parametrize("path", ["/abs", "a//b", "a/../b", "./a", "a\\b", "a\x00", "", "a/", "x" * 4097])
def test_a_path_that_could_lead_elsewhere_is_refused(path):
    with pytest.raises(InvalidObjectError, match=r"artifact\.path"):
        Artifact(owner=RUN, path=path, digest="0" * 64, size=0)


def test_an_object_refers_to_another_by_id_or_name_path():
    project = Project(name="digits", parent="vision")
    assert Experiment(name="svc", project=project).project == "vision/digits"
    project.id = "018f3a5e-0000-7000-8000-000000000001"
    assert Experiment(name="svc", project=project).project == project.id


def test_a_dataset_version_follows_from_its_content():
    one = Dataset(name="iris", attributes=[Attribute(name="width", type="float", unit="cm")])
    same = Dataset(name="iris", title="Iris", attributes=[Attribute(name="width", type="float", unit="cm")])
    other = Dataset(name="iris", attributes=[Attribute(name="width", type="float", unit="mm")])
    assert one.version == same.version != other.version


def test_a_code_url_loses_its_password():
    code = Code(type="git", commit="abc", url="https://ada:secret@example.org/x.git")
    assert code.url == "https://example.org/x.git"


def test_equal_code_has_an_equal_key():
    assert Code(type="file", file="a.py", digest="1").key() == Code(type="file", digest="1", file="a.py").key()
    assert Code(type="file", file="a.py", digest="1").key() != Code(type="file", file="a.py", digest="2").key()


@given(st.lists(st.integers(0, 200)))
def test_indices_keep_every_row_and_their_order(rows):
    indices = Indices(rows)
    assert list(indices) == rows
    assert len(indices) == len(rows)
    assert Indices.parse(str(indices)) == indices
    assert list(np.asarray(indices, dtype=int)) == rows


def test_consecutive_rows_are_one_range():
    assert str(Indices(range(1000))) == "0-999"
    assert str(Indices(np.array([0, 1, 2, 7]))) == "0-2,7"


@pytest.mark.parametrize("text", ["5-3", "-1", "a", "1,,2", "1-", "9" * 30])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ValueError, match="range"):
        Indices.parse(text)


def test_ended_statuses_are_known():
    assert [status.value for status in RunStatus if status.ended] == ["finished", "failed", "killed", "lost"]


def test_two_kinds_of_one_name_are_refused():
    class Other(PadreObject):
        kind = "run"
        folder = "others"

    with pytest.raises(PluginConflictError, match="both want the kind 'run'"):
        register_kind(Other)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "My Kind"}, {"kind": "../x"}, {"folder": "a/b"}, {"folder": ".."}, {"folder": None},
        {"folder": "blobs"}, {"folder": "log"}, {"folder": "snapshots"}, {"parents": ("horse",)},
        {"parent_field": "stable"},
    ],
)  # fmt: skip
def test_a_class_that_cannot_be_a_kind_is_refused_before_it_is_one(wrong):
    said = {"kind": "horse_shoe", "folder": "horse_shoes", "parents": ("run",), "parent_field": "run", **wrong}
    model = type("Wrong", (PadreObject,), {"__annotations__": {"run": str}, "__module__": __name__, **said})
    before = kinds()
    with pytest.raises((InvalidObjectError, PluginConflictError), match="Wrong"):
        register_kind(model)
    assert kinds() == before


def test_what_is_no_class_of_objects_is_no_kind():
    with pytest.raises(InvalidObjectError, match="subclass of PadreObject"):
        register_kind(dict)


def test_an_unknown_kind_names_those_that_are():
    with pytest.raises(InvalidObjectError, match="project, dataset"):
        kind_of("horse")


@pytest.mark.parametrize("model", kinds())
def test_every_kind_says_where_it_belongs(model):
    assert model.__doc__
    assert all(kind_of(parent) for parent in model.parents)


def test_loading_stored_content_validates_it_once(monkeypatch):
    content = Run(execution="x", parameters={"C": 1.0}).content()
    monkeypatch.setattr(Run, "__init__", None)
    assert Run.from_stored([content])[0].parameters == {"C": 1.0}


def test_a_dataset_version_follows_what_is_set_until_it_is_said_or_stored():
    dataset = Dataset(name="iris")
    dataset.attributes = (Attribute(name="width"),)
    assert dataset.version == Dataset(name="iris", attributes=[Attribute(name="width")]).version
    dataset.version = "2026"
    dataset.origin = "Fisher"
    assert dataset.version == "2026"


@pytest.mark.parametrize("version", ["", "a\nb", "x" * 256, "\ud800"])
def test_a_malformed_dataset_version_is_refused(version):
    with pytest.raises(InvalidObjectError, match=r"dataset\.version"):
        Dataset(name="iris", version=version)


@pytest.mark.parametrize("field", ["parameters", "metadata", "tags"])
def test_two_forms_of_one_key_are_refused_and_none_is_lost(field):
    with pytest.raises(InvalidObjectError, match=f"{field}.*é.*twice"):
        Run(execution="e", **{field: {"é": "1", "e\u0301": "2"}})


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"lr": object()}, "lr: object"),
        ({"a": 1, "lr": {"x": [1j]}}, r"lr\.x\[0\]"),
        ({"lr": 10**5000}, "lr.*16610 bits"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_key(value, named):
    with pytest.raises(InvalidObjectError, match=f"run.parameters: {named}"):
        Run(execution="e", parameters=value)


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T12:00:00",
        "2026-01-01T12:00:00Z",
        datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp(),
    ],
)
def test_all_times_of_an_object_are_in_utc_on_every_machine(monkeypatch, time):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    tzset()
    try:
        run = Run(execution="e", started_at=time)
        assert run.started_at.isoformat() == "2026-01-01T12:00:00+00:00"
        assert b'"started_at":"2026-01-01T12:00:00.000000Z"' in run.content()
    finally:
        monkeypatch.undo()
        tzset()


def test_a_time_of_no_zone_is_refused_where_a_moment_is_meant_and_kept_as_it_is_where_it_is_data():
    time = datetime(2026, 1, 1, 12)  # noqa: DTZ001  # such are given
    with pytest.raises(InvalidObjectError, match="names no zone"):
        Run(execution="e", started_at=time)
    run = Run(execution="e")
    with pytest.raises(InvalidObjectError, match="names no zone"):
        run.ended_at = time
    assert Run(execution="e", parameters={"until": time}).parameters == {"until": "2026-01-01T12:00:00"}


@pytest.mark.parametrize(
    "time",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
    ],
)
def test_a_time_that_utc_does_not_have_is_refused(time):
    for values in ({"started_at": time}, {"started_at": time.isoformat()}, {"parameters": {"since": time}}):
        with pytest.raises(InvalidObjectError, match="year"):
            Run(execution="e", **values)

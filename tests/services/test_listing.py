import builtins
import importlib.util
import itertools

import pytest

import padre_core as padre


@pytest.fixture
def runs(workspace, execution):
    return [
        workspace.runs.put(padre.Run(execution=execution, name=f"r{number}", parameters={"C": number}))
        for number in range(5)
    ]


def test_a_listing_is_by_creation_and_can_be_read_again(workspace, runs):
    listing = workspace.runs.list()
    assert [run.id for run in listing] == [run.id for run in runs]
    assert [run.id for run in listing] == [run.id for run in runs]


def test_a_listing_is_filtered_ordered_and_limited(workspace, runs):
    found = workspace.runs.list(where="parameters.C >= 1", order_by="-parameters.C", limit=2)
    assert [run.name for run in found] == ["r4", "r3"]
    found = workspace.runs.list(order_by=["-status", "-parameters.C"], limit=1)
    assert [run.name for run in found] == ["r4"]


def test_a_count_equals_the_length_of_the_listing(workspace, runs):
    assert workspace.runs.count("parameters.C > 2") == len(list(workspace.runs.list("parameters.C > 2"))) == 2


def test_a_long_listing_is_fetched_page_by_page(workspace, runs, monkeypatch):
    monkeypatch.setattr("padre_core.services.listing.PAGE", 2)
    assert [run.id for run in workspace.runs.list()] == [run.id for run in runs]
    assert [run.id for run in workspace.runs.list(limit=3)] == [run.id for run in runs[:3]]
    assert [run.id for run in itertools.islice(workspace.runs.list(), 1)] == [runs[0].id]


@pytest.mark.parametrize("limit", [0, 1, 5, 9])
def test_a_limit_is_never_exceeded(workspace, runs, limit):
    assert len(list(workspace.runs.list(limit=limit))) == min(limit, 5)


def test_a_negative_limit_is_refused(workspace):
    with pytest.raises(padre.InvalidObjectError, match="limit"):
        workspace.runs.list(limit=-1)


@pytest.mark.parametrize("within", ["iris", "iris/svc", "object", "id"])
def test_a_listing_can_be_limited_to_what_lies_below(workspace, execution, runs, within):
    other = workspace.experiments.put(padre.Experiment(name="other", project="rose"))
    elsewhere = workspace.executions.put(padre.Execution(experiment=other, code=execution.code))
    workspace.runs.put(padre.Run(execution=elsewhere))
    below = {"object": execution, "id": execution.id}.get(within, within)
    assert workspace.runs.count(within=below) == 5
    assert workspace.runs.count() == 6


def test_below_what_is_not_there_is_not_found(workspace):
    with pytest.raises(padre.NotFoundError, match="within"):
        workspace.runs.list(within="none")


def test_a_name_that_means_two_things_must_be_made_clear(workspace):
    workspace.projects.put(padre.Project(name="svc", parent="iris"))
    workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    with pytest.raises(padre.InvalidObjectError, match="give the id"):
        workspace.runs.list(within="iris/svc")


@pytest.mark.parametrize("where", ["parameters.C >", "wrong == 1", "status = 1", ""])
def test_a_bad_filter_is_refused_before_anything_is_read(workspace, where):
    with pytest.raises(padre.InvalidObjectError):
        workspace.runs.list(where)


def test_rows_are_flat(workspace, run):
    writer = workspace.runs.open_writer(run)
    writer.point("train/loss", 3, 0.5, 0)
    writer.close()
    (row,) = workspace.runs.list().to_rows()
    assert row["id"] == run.id
    assert row["parameters.C"] == 1.0
    assert row["metrics.train/loss.last"] == 0.5
    assert row["metrics.train/loss.last_step"] == 3


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="pandas is not installed")
def test_a_listing_becomes_a_data_frame(workspace, runs):
    frame = workspace.runs.list(order_by="parameters.C").to_pandas()
    assert list(frame["parameters.C"]) == [0, 1, 2, 3, 4]
    assert frame.index[0] == runs[0].id
    assert len(workspace.splits.list().to_pandas()) == 0


def test_without_pandas_the_way_to_get_it_is_said(workspace, monkeypatch):
    real = builtins.__import__

    def without_pandas(name, *rest):
        if name == "pandas":
            raise ImportError
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(padre.UnsupportedError, match="pip install"):
        workspace.runs.list().to_pandas()


def test_a_notebook_shows_names_as_text_only(workspace):
    workspace.projects.put(padre.Project(name="iris", title="<script>alert(1)</script>"))
    page = workspace.projects.list()._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_a_notebook_shows_the_first_objects_of_a_long_listing(workspace, execution, monkeypatch):
    monkeypatch.setattr("padre_core.services.listing.SHOWN", 2)
    for _ in range(3):
        workspace.runs.put(padre.Run(execution=execution))
    page = workspace.runs.list()._repr_html_()
    assert page.count("<tr>") == 3
    assert "only the first 2" in page


@pytest.mark.parametrize("limit", ["3", 2.5, object()])
def test_a_limit_that_is_no_whole_number_is_refused(workspace, limit):
    with pytest.raises(padre.InvalidObjectError, match="limit: expected a whole number"):
        workspace.runs.list(limit=limit)


class Index:
    def __index__(self):
        return 3


def test_a_limit_may_be_any_whole_number(workspace):
    assert len(list(workspace.projects.list(limit=Index()))) <= 3


@pytest.mark.parametrize(
    ("arguments", "said"), [({"where": 5}, "where: expected"), ({"order_by": 5}, "order_by: expected")]
)
def test_what_is_no_filter_or_order_is_refused(workspace, arguments, said):
    with pytest.raises(padre.InvalidObjectError, match=said):
        workspace.runs.list(**arguments)


def test_a_listing_is_true_if_it_holds_anything(workspace, runs):
    assert workspace.runs.list("parameters.C > 2")
    assert not workspace.runs.list("parameters.C > 9")
    assert not workspace.runs.list(limit=0)


def test_a_listing_says_what_it_lists_and_what_to_do_with_it(workspace):
    assert "runs" in repr(workspace.runs.list())
    assert "to_pandas()" in repr(workspace.runs.list())

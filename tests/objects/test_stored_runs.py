"""Reading the content of runs as stores give it: as fast as it may be, and with the same result as from anywhere."""

import pytest

from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.record import Record
from padre_core.objects.run import Run, is_running

_EXECUTION = b'"execution":"12d56d78-e1b3-5b06-9af8-38f4fc7d2995"'
_HERE = b'"environment":{"hostname":"here","packages":{"digest":"%b","size":3}}' % (b"0a" * 32)
_THERE = b'"environment":{"hostname":"there"}'


def _content(*fields: bytes) -> bytes:
    return b"{%b}" % b",".join(fields)


@pytest.mark.parametrize(
    "content",
    [
        _content(_EXECUTION),
        _content(_HERE, _EXECUTION),
        _content(b'"command":["python","a {b}"]', b'"ended_at":"2026-11-28T09:20:12.539495Z"', _HERE, _EXECUTION),
        _content(_HERE, b'"error":{"message":"},\\"e","type":"E"}', _EXECUTION),
        _content(b'"description":"\\"environment\\":{"', _HERE, _EXECUTION),
        _content(_EXECUTION, b'"parameters":{"a":1,%b,"epochs":3}' % _HERE),
        _content(b'"parameters":{%b,"epochs":3}' % _HERE, _EXECUTION),
        _content(b'"parameters":{"a":{"x":1},%b,"epochs":3}' % _HERE, _THERE, _EXECUTION),
        _content(b'"parameters":{"x\\"environment":{},"e":3}', _EXECUTION),
        _content(_HERE, _EXECUTION, _THERE),
        _content(b'"environment": {"hostname":"here"}', _EXECUTION),
        _content(b'"environment":null', _EXECUTION),
        _content(_EXECUTION, _HERE),
        _content(b'"environment":{"hostname":"%b"}' % (b"h" * 20_000), _EXECUTION),
    ],
)
def test_a_stored_run_is_the_same_as_one_from_anywhere(content):
    stored, made = Run.from_stored([content])[0], Run.from_content(content)
    assert stored == made
    assert stored.model_fields_set == made.model_fields_set
    assert list(stored.__dict__) == list(made.__dict__)


@pytest.mark.parametrize(
    "content",
    [
        _content(b'"environment":{"host":"here"}', _EXECUTION),
        _content(b'"environment":{"processors":"many"}', _EXECUTION),
        _content(_HERE, _EXECUTION, b'"status":"asleep"'),
        _content(_HERE, _EXECUTION, b'"unknown":1'),
        _content(_HERE, b'"error":{"message":"none"}'),
        _content(_HERE),
    ],
)
def test_what_is_wrong_with_a_stored_run_is_said_as_of_one_from_anywhere(content):
    with pytest.raises(InvalidObjectError) as made:
        Run.from_content(content)
    with pytest.raises(InvalidObjectError) as stored:
        Run.from_stored([_content(_HERE, _EXECUTION), content])
    assert str(stored.value) == str(made.value)


def test_stored_runs_whose_environments_are_equal_to_the_letter_share_one():
    one, other, there = Run.from_stored([
        _content(_HERE, _EXECUTION), _content(b'"command":["a"]', _HERE, _EXECUTION), _content(_THERE, _EXECUTION),
    ])  # fmt: skip
    assert one.environment is other.environment
    assert one.environment is not None
    assert one.environment.hostname == "here"
    assert there.environment is not None
    assert there.environment.hostname == "there"


@pytest.mark.parametrize(
    ("content", "running"),
    [
        ({"execution": "e", "status": "running"}, True),
        ({"execution": "e", "status": "running", "tags": {"stage": "status"}, "title": "t"}, True),
        ({"execution": "e", "status": "running", "tags": {"a": "b", "status": "running"}}, True),
        ({"status": "running"}, True),
        ({"execution": "e", "status": "finished", "tags": {"a": "b", "status": "running"}}, False),
        ({"parameters": {"a": 1, "status": "running"}, "status": "failed"}, False),
        ({"parameters": {"status": "running"}, "tags": {"status": "running"}}, False),
        ({"execution": "e", "title": ',"status":"running"'}, False),
        ({"execution": "e", ',"status': "running"}, False),
    ],
)
def test_only_a_runs_own_status_says_that_it_is_running(content, running):
    assert is_running(Record("run", "r", canonical.canonical_json(content), "1-0")) is running

"""How the kit is used: levels, reasons, and what it refuses."""

import pytest

from padre_core.backends.capabilities import Capabilities
from padre_core.testing import BackendTests, Budget, ByteStoreTests, replaces


def test_a_standard_test_is_not_replaced_without_a_reason():
    with pytest.raises(TypeError, match="test_keys_are_listed_in_byte_order replaces a standard test without a reason"):

        class Tests(ByteStoreTests):
            def test_keys_are_listed_in_byte_order(self):
                pass


def test_a_standard_test_is_not_deleted():
    with pytest.raises(TypeError, match="without a reason"):
        type("Tests", (BackendTests,), {"test_closing_twice_is_no_error": None})


def test_a_reason_is_not_empty():
    with pytest.raises(ValueError, match="reason"):
        replaces(" ")
    with pytest.raises(TypeError, match="no reason"):
        type("Tests", (BackendTests,), {"skipped": {"test_closing_twice_is_no_error": ""}})


def test_only_standard_tests_can_be_skipped():
    with pytest.raises(TypeError, match="no standard test"):
        type("Tests", (BackendTests,), {"skipped": {"test_of_my_own": "because"}})


def test_a_standard_test_may_be_replaced_for_a_reason():
    class Tests(ByteStoreTests):
        @replaces("this store sorts by itself")
        def test_keys_are_listed_in_byte_order(self):
            return "mine"

        def test_of_my_own(self):
            pass

    assert Tests().test_keys_are_listed_in_byte_order() == "mine"


def test_an_undeclared_level_is_skipped_and_named():
    with pytest.raises(pytest.skip.Exception, match=r"\[capability: streaming\] not declared"):
        ByteStoreTests.require(Capabilities(), "streaming")
    with pytest.raises(pytest.skip.Exception, match=r"\[capability: streaming\] not yet"):
        ByteStoreTests.require(Capabilities(planned=frozenset({"streaming"})), "streaming")
    ByteStoreTests.require(Capabilities(streaming=True), "streaming")


def test_each_standard_test_knows_its_level():
    levels = {"base", *Capabilities.__dataclass_fields__}
    for suite in (ByteStoreTests, BackendTests):
        tests = [getattr(suite, name) for name in dir(suite) if name.startswith("test_")]
        assert len(tests) > 40
        assert {test.level for test in tests} <= levels


def test_a_budget_bounds_the_work():
    assert Budget(rounds=1).rounds == 1


def test_a_test_that_is_named_in_skipped_is_skipped_with_the_reason():
    tests = type("Tests", (BackendTests,), {"skipped": {"test_closing_twice_is_no_error": "it closes once"}})()
    with pytest.raises(pytest.skip.Exception, match="it closes once"):
        tests.skip_named("test_closing_twice_is_no_error")
    tests.skip_named("test_every_value_survives_unchanged")

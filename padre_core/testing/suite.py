"""What all suites of the kit share: opening by URL, levels, and the guard over the standard tests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import pytest

from padre_core.backends.capabilities import Capabilities

BASE = "base"
"""The level of the tests that every store passes, whatever it declares."""

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Budget:
    """How much work the tests that repeat themselves may do; override the fixture `budget` for slow stores.

    Attributes:
        rounds: How often each thread or process repeats what it races for.
        examples: How many histories the state machine tries, each of at most `steps` steps.
        large: The size in bytes of what must pass through bounded memory.
    """

    threads: int = 4
    processes: int = 3
    rounds: int = 20
    examples: int = 20
    steps: int = 25
    large: int = 48 * 1024 * 1024


class Opening:
    """Opens the store of a test; options may be given with each call."""

    def __init__(self, open_: Callable[..., Any]) -> None:
        self._open = open_
        self.stores: list[Any] = []

    def __call__(self, **options: Any) -> Any:
        """Another opening of the same store."""
        self.stores.append(self._open(**options))
        return self.stores[-1]

    def close(self, store: Any) -> None:
        """Closes one, once."""
        self.stores = [other for other in self.stores if other is not store]
        store.close()


def replaces(reason: str) -> Callable[[Test], Test]:
    """Marks a test of an author's class as the deliberate replacement of the standard test of that name.

    Args:
        reason: Why the standard test does not fit this store; must not be empty.
    """
    if not reason.strip():
        raise ValueError("replaces() wants the reason why the standard test does not fit this store")

    def mark(test: Test) -> Test:
        test.__dict__["replacement_reason"] = reason
        return test

    return mark


class Suite:
    """Base of the kit's classes. A test belongs to the level of the class that defines it.

    A level is `base` or the name of a capability. `pytest -k conditional_write` selects the tests of one; a failure
    says `[capability: conditional_write]`. Tests of a capability that the opened store does not declare are skipped.

    Fixtures that an author may define:
        url: Where a fresh, empty store is; required. It is opened several times in one test.
        options: Options for opening it, such as credentials for a test server.
        budget: A `Budget`.

    Attributes:
        skipped: Standard tests that must not run for this store, and the reason of each.
    """

    skipped: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, *, level: str | None = None, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if level is not None:
            for name, test in [*vars(cls).items()]:
                if name.startswith("test_"):
                    setattr(cls, name, _of_level(test, level))
        else:
            _check_that_all_standard_tests_are_left(cls)

    @pytest.fixture(autouse=True)
    def skipping(self, request: pytest.FixtureRequest) -> None:
        """Skips what the author named in `skipped`, before anything is opened."""
        self.skip_named(request.node.originalname)

    def skip_named(self, test: str) -> None:
        """Skips a test if the author gave a reason for it."""
        if reason := self.skipped.get(test):
            pytest.skip(reason)

    @pytest.fixture
    def url(self) -> str:
        """Where a fresh, empty store is."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `url` that returns where a new store is")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """Options for opening the store."""
        return {}

    @pytest.fixture
    def budget(self) -> Budget:
        """How much work the repeating tests may do."""
        return Budget()

    def open(self, url: str, **options: Any) -> Any:
        """Opens the store through its entry point, as users do."""
        raise NotImplementedError

    @pytest.fixture
    def opening(self, url: str, options: dict[str, Any]) -> Iterator[Opening]:
        """Opens the store of the test, any number of times; the test's end closes what is still open."""
        opening = Opening(functools.partial(self.open, url, **options))
        yield opening
        for store in [*opening.stores]:
            opening.close(store)

    def opened(self, request: pytest.FixtureRequest, opening: Opening) -> Any:
        """The store of the test, if the test is to run for what the store declares."""
        store = opening()
        level = getattr(request.function, "level", BASE)
        if level != BASE:
            self.require(store.capabilities, level)
        return store

    @staticmethod
    def require(capabilities: Capabilities, name: str) -> None:
        """Skips the test unless a capability is declared."""
        if not getattr(capabilities, name):
            when = "not yet" if name in capabilities.planned else "not declared"
            pytest.skip(f"[capability: {name}] {when} by this store")


def _of_level(test: Callable[..., Any], level: str) -> Callable[..., Any]:
    @functools.wraps(test)
    def labelled(*arguments: Any, **fixtures: Any) -> None:
        try:
            test(*arguments, **fixtures)
        except AssertionError as error:
            error.args = (f"[capability: {level}] {error}",)
            raise
        except pytest.fail.Exception as error:
            error.msg = f"[capability: {level}] {error.msg}"
            raise
        except Exception as error:
            error.add_note(f"[capability: {level}]")
            raise

    # pytest takes the names in a function's dict as keywords, so that `-k <level>` selects it.
    labelled.__dict__.update({"level": level, level: True})
    return labelled


def _check_that_all_standard_tests_are_left(cls: type[Suite]) -> None:
    standard = {name for base in cls.__mro__[1:] for name, test in vars(base).items() if hasattr(test, "level")}
    for name in sorted(standard & vars(cls).keys()):
        if not getattr(vars(cls)[name], "replacement_reason", ""):
            raise TypeError(
                f"{cls.__qualname__}.{name} replaces a standard test without a reason: "
                f"decorate it with @padre_core.testing.replaces('why'), or name it in `skipped`"
            )
    for name, reason in cls.skipped.items():
        if name not in standard:
            raise TypeError(f"{cls.__qualname__}.skipped names {name}, which is no standard test")
        if not reason.strip():
            raise TypeError(f"{cls.__qualname__}.skipped gives no reason for {name}")

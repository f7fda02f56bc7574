"""What users get when they install the distributions."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import padre_core
import padre_file


def files_of(distribution: str) -> set[str]:
    return {str(path) for path in metadata.files(distribution) or ()}


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after a statement, and "ENTRY POINTS READ" where it read them."""
    script = f"""
import sys
read = []

def watch(event, args):
    if event == "open" and "entry_points.txt" in str(args[0]):
        read.append(args)

sys.addaudithook(watch)
{statement}
import json
print(json.dumps([*sys.modules, *(["ENTRY POINTS READ"] if read else [])]))
"""
    # Pydantic looks for plugins of its own when the first model is made: that is not what is asked here.
    environment = {**os.environ, "PYDANTIC_DISABLE_PLUGINS": "__all__"}
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    return set(json.loads(answer.stdout))


tox_only = pytest.mark.skipif("TOX_ENV_DIR" not in os.environ, reason="looks at installed wheels, which tox provides")


@tox_only
@pytest.mark.parametrize("package", [padre_core, padre_file])
def test_the_tests_run_against_installed_wheels(package):
    assert Path(package.__file__).is_relative_to(os.environ["TOX_ENV_DIR"])


@tox_only
@pytest.mark.parametrize(
    ("distribution", "path"),
    [
        ("padre-core", "padre_core/py.typed"),
        ("padre-core", "padre_core/testing/__init__.py"),
        ("padre-file", "padre_file/py.typed"),
    ],
)
def test_a_wheel_holds(distribution, path):
    assert path in files_of(distribution)


@tox_only
@pytest.mark.parametrize(("distribution", "package"), [("padre-core", "padre_core"), ("padre-file", "padre_file")])
def test_a_wheel_installs_its_package_and_nothing_beside_it(distribution, package):
    top_level = {path.split("/")[0] for path in files_of(distribution) if not path.startswith("..")}
    assert {name for name in top_level if not name.endswith(".dist-info")} == {package}


@pytest.mark.parametrize("distribution", ["padre-core", "padre-file"])
def test_a_distribution_carries_its_licence(distribution):
    assert metadata.metadata(distribution)["License-Expression"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("group", "name", "distribution"),
    [
        ("padre.backends", "memory", "padre-core"),
        ("padre.backends", "file", "padre-file"),
        ("console_scripts", "padre", "padre-core"),
    ],
)
def test_an_entry_point_is_registered_and_loads(group, name, distribution):
    (entry_point,) = metadata.entry_points(group=group, name=name)
    assert entry_point.dist is not None
    assert entry_point.dist.name == distribution
    assert callable(entry_point.load())


def test_the_version_is_the_one_that_was_installed():
    assert padre_core.__version__ == metadata.version("padre-core")


@pytest.mark.parametrize("module", ["click", "fsspec", "numpy", "pandas", "rich", "padre_file", "ENTRY POINTS READ"])
def test_importing_core_stays_away_from(module, modules_after_import):
    assert module not in modules_after_import


@pytest.fixture(scope="module")
def modules_after_import() -> set[str]:
    return modules_after("import padre_core")


def test_the_look_at_entry_points_sees_them_being_read():
    statement = "import importlib.metadata; importlib.metadata.entry_points(group='padre.backends')"
    assert "ENTRY POINTS READ" in modules_after(statement)

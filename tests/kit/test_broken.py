"""The kit is red for whoever breaks a promise, at the right test, with the name of the capability."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from .broken import broken_backends, broken_stores

CASES = [
    *(("broken_stores", "ByteStoreTests", cls.__name__, *told) for cls, told in broken_stores.BROKEN.items()),
    *(("broken_backends", "BackendTests", cls.__name__, *told) for cls, told in broken_backends.BROKEN.items()),
]


def scheme(module: str, name: str) -> str:
    return f"{module.replace('_', '-')}-{name.lower()}"


@pytest.fixture(scope="module")
def failures(tmp_path_factory) -> dict[tuple[str, str], str]:
    """What pytest says of each broken store: the text of the failure, by class and test."""
    folder = tmp_path_factory.mktemp("broken")
    info = folder / "broken_stores-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-stores\nVersion: 1\n")
    points = [f"{scheme(module, name)} = {module}:{name}\n" for module, _, name, *_ in CASES]
    (info / "entry_points.txt").write_text("".join(["[padre.backends]\n", *points]))
    classes = [
        f"class Test_{module}_{name}({suite}):\n    scheme = {scheme(module, name)!r}\n\n"
        "    @pytest.fixture\n    def url(self):\n        return f'{self.scheme}://{uuid.uuid4()}'\n\n"
        for module, suite, name, *_ in CASES
    ]
    imports = "import uuid\n\nimport pytest\n\nfrom padre_core.testing import BackendTests, ByteStoreTests\n\n\n"
    (folder / "test_all.py").write_text(imports + "\n".join(classes))
    tests = [f"test_all.py::Test_{module}_{name}::{test}" for module, _, name, _, test in CASES]
    path = os.pathsep.join([str(folder), str(Path(__file__).with_name("broken")), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml", *tests],
        cwd=folder, env={**os.environ, "PYTHONPATH": path, "PADRE_CACHE": str(folder / "cache")},
        capture_output=True, check=False, timeout=600,
    )  # fmt: skip
    found = {}
    for case in ET.parse(folder / "report.xml").iter("testcase"):
        for failure in case.iter("failure"):
            name = case.attrib["classname"].rpartition("Test_")[2], case.attrib["name"].partition("[")[0]
            found[name] = f"{failure.attrib['message']}\n{failure.text}"
    return found


@pytest.mark.parametrize(
    ("module", "suite", "name", "capability", "test"), CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES]
)
def test_the_kit_is_red_for(failures, module, suite, name, capability, test):
    assert f"[capability: {capability}]" in failures.get((f"{module}_{name}", test), "")

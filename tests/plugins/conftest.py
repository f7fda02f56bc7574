import sys
import textwrap

import pytest

from padre_core import plugins


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution as a wheel would: metadata with entry points, and a module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._discover.cache_clear()

    def make(name, source="", *, version="1.0", **groups):
        module = name.replace("-", "_")
        sys.modules.pop(module, None)
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = []
        for group, (entry, value) in groups.items():
            lines += [f"[padre.{group}]", f"{entry} = {module}:{value}"]
        (info / "entry_points.txt").write_text("\n".join(lines))
        plugins._discover.cache_clear()

    yield make
    plugins._discover.cache_clear()

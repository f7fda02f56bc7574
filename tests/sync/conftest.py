import itertools

import pytest

from padre_core.plugins import open_backend

from .sides import memory


@pytest.fixture(params=["memory-memory", "memory-file", "file-file"])
def places(request, tmp_path):
    """Opens empty stores, the first of a pair as the local one, all others as remotes."""
    kinds = request.param.split("-")
    opened = []
    numbers = itertools.count()

    def open_next(kind):
        number = next(numbers)
        made = memory() if kind == "memory" else open_backend(str(tmp_path / f"store-{number}"), durability="process")
        opened.append(made)
        return made

    yield lambda: open_next(kinds[0]), lambda: open_next(kinds[1])
    for backend in opened:
        backend.close()

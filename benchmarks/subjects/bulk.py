"""Many runs at once by a backend's own calls, as a copy from another store makes them."""

import secrets
from collections.abc import Mapping, Sequence

from padre_core.backends.backend import Backend, Write
from padre_core.backends.bytestore import UNBORN
from padre_core.errors import PadreError
from padre_core.objects import canonical
from padre_core.objects.identity import new_run_id
from padre_core.objects.record import Record, first
from padre_core.streams.columns import now
from padre_core.streams.writer import columns_of


def put_runs(
    backend: Backend, model: str, runs: Sequence[tuple[Mapping[str, float | str], Mapping[str, float]]]
) -> list[str]:
    """Stores finished runs like a stored one, each with its own parameters and one point of each metric."""
    before = backend.get("run", model)
    content = before.data()
    records = [like(before, {**content, "parameters": parameters}) for parameters, _ in runs]
    with backend.batch(f"Store {len(runs)} runs"):
        for result in backend.put_many([Write(record, UNBORN) for record in records]):
            if isinstance(result, PadreError):
                raise result
        for record, (_, metrics) in zip(records, runs, strict=True):
            points = columns_of([(name, 0, now(), value) for name, value in metrics.items()])
            backend.append_stream(record.id, secrets.token_hex(8), 0, points)
    return [record.id for record in records]


def like(before: Record, content: Mapping[str, object]) -> Record:
    """The first version of a run beside another."""
    data = canonical.canonical_json(canonical.plain(content))
    return first("run", new_run_id(), data, before.ancestors, by=before.created_by, at=canonical.now())

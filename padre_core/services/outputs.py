"""Outputs: results per row, kept as columns."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from padre_core.backends.blobs import verified
from padre_core.errors import NotFoundError
from padre_core.objects import columns
from padre_core.objects.output import Output, Rows
from padre_core.services.service import Service


class OutputService(Service[Output]):
    """Stores and finds outputs, and their rows."""

    def put(
        self, object: Output | str, *, remote: str | None = None, rows: Mapping[str, Sequence[Any]] | None = None
    ) -> Output:
        """Stores an output as every service does.

        Args:
            rows: Columns of equal length, such as lists or NumPy arrays, by name.
        """
        if rows is not None and isinstance(object, Output):
            data = columns.encode(rows)
            blob = self.backend.write_blob(io.BytesIO(data), media_type=columns.MEDIA_TYPE)
            names, counts = zip(*((name, len(column)) for name, column in rows.items()), strict=True)
            object.rows = Rows(blob=blob, columns=names, count=counts[0])
        return super().put(object, remote=remote)

    def rows(self, output: Output | str) -> dict[str, list[Any]]:
        """The columns of an output by name.

        Raises:
            NotFoundError: It has no rows.
        """
        found = self.get(output, refresh="never")
        if found.rows is None:
            raise NotFoundError(f"the output {found.name!r} ({found.id}) has no rows, but a value")
        digest = found.rows.blob.digest
        with verified(self.backend.open_blob(digest), digest) as file:
            return columns.decode(file.read())

"""Datasets: their data in several formats, and which version is the newest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

from padre_core import query
from padre_core.backends.blobs import verified
from padre_core.errors import InvalidObjectError, NotFoundError
from padre_core.objects.dataset import Dataset
from padre_core.objects.record import Record
from padre_core.services.files import Source, open_source
from padre_core.services.naming import Look
from padre_core.services.service import Service


class DatasetService(Service[Dataset]):
    """Stores and finds datasets, and their data. A name path means the newest version."""

    def put(
        self, object: Dataset | str, *, remote: str | None = None, data: Mapping[str, Source] | None = None
    ) -> Dataset:
        """Stores a dataset as every service does.

        Args:
            data: Paths, bytes or binary files by format, such as `csv`; they become `formats`.

        Raises:
            AlreadyExistsError: This version exists with other content.
        """
        if data and isinstance(object, Dataset):
            formats = dict(object.formats)
            for format, source in data.items():
                with open_source(source) as file:
                    formats[format] = self.backend.write_blob(file)
            object.formats = formats
        return super().put(object, remote=remote)

    def open(self, dataset: Dataset | str, format: str | None = None) -> BinaryIO:
        """The data as a file, which checks its digest when it is read to the end.

        Args:
            format: Can be left out where there is only one.

        Raises:
            NotFoundError: There is no data in this format.
        """
        found = self.get(dataset, refresh="never")
        known = ", ".join(found.formats) or "none"
        if format is None and len(found.formats) != 1:
            raise InvalidObjectError(f"say which format of {found.name!r} is meant; there are: {known}")
        blob = found.formats.get(format or next(iter(found.formats)))
        if blob is None:
            raise NotFoundError(
                f"the dataset {found.name!r} ({found.id}) has no format {format!r:.80}; it has: {known}"
            )
        return verified(self.backend.open_blob(blob.digest), blob.digest)

    def read(self, dataset: Dataset | str, format: str | None = None) -> bytes:
        """The data as bytes; see `open`."""
        with self.open(dataset, format) as file:
            return file.read()

    def _newest(self, above: str, parent: str | None, name: str, look: Look | None = None) -> Record | None:
        named = query.Compare(query.Field(("name",)), query.Operator.EQ, name)
        newest = (query.Order(query.Field(("created_at",)), descending=True),)
        for deleted in (query.Deleted.EXCLUDE, query.Deleted.ONLY):
            asked = query.Query(where=named, within=parent, order=newest, limit=100, deleted=deleted)
            for record in self.records.all(self.kind, asked):
                if record.parent == parent:
                    return record
        return None

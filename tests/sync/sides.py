"""Stores to sync between, and versions to put into them."""

import itertools
from dataclasses import replace
from types import MappingProxyType

from padre_core.backends import store
from padre_core.backends.bytestore import ABSENT
from padre_core.backends.memory import MemoryStore
from padre_core.backends.store import ByteStoreBackend
from padre_core.errors import NotFoundError
from padre_core.objects import record as records
from padre_core.objects.envelope import parse
from padre_core.objects.experiment import Experiment
from padre_core.objects.identity import object_id
from padre_core.objects.project import Project
from padre_core.objects.record import Tombstone
from padre_core.sync import Engine, RemoteStore

AT = "2026-11-23T12:00:00.000000Z"
_names = itertools.count()


def memory(space=None):
    """A backend in memory; with the space of another one, that store opened once more."""
    opened = MemoryStore("memory://")
    if space is not None:
        opened._space = space
    return Noting(opened)


class Noting(ByteStoreBackend):
    """Stores what is to be noted of a new object in one step with it, as stores with logs do."""

    def put(self, record, *, if_match=None, notes=MappingProxyType({})):
        return self._replace(record.kind, record.id, lambda current: store.resolve(current, record, if_match, notes))


def project(name="iris", **fields):
    made = Project(name=name, **fields)
    above = () if made.parent is None else (made.parent,)
    return records.first("project", object_id("project", made.parent, name), made.content(), above, by="ada", at=AT)


def experiment(above, name="svc", **fields):
    made = Experiment(name=name, project=above.id, **fields)
    id = object_id("experiment", above.id, name)
    return records.first("experiment", id, made.content(), (*above.ancestors, above.id), by="ada", at=AT)


def edited(before, at=AT, **fields):
    model = Project if before.kind == "project" else Experiment
    data = {**before.data(), **fields}
    content = model(**{name: value for name, value in data.items() if value is not None}).content()
    return records.successor(before, content, by="ada", at=at)


def buried(before, deletion="d"):
    return records.successor(before, before.content, by="ada", at=AT, deleted=Tombstone(deletion, AT, "ada"))


def put(backend, record):
    """Puts a first version, or one that follows the stored head."""
    head = find(backend, record)
    return backend.put(record, if_match=ABSENT if head is None else head.etag)


def find(backend, record):
    try:
        return backend.get(record.kind, record.id)
    except NotFoundError:
        return None


def ref(record):
    return record.kind, record.id


def engine(local, *remotes, auto=True, **options):
    stores = [RemoteStore(name, f"test://{name}", lambda backend=backend: backend, auto) for name, backend in remotes]
    return Engine(local, stores, threads=1, actor="ada", **options)


def entry(backend, record, remote="lab"):
    return parse(backend.get(record.kind, record.id).envelope, "").of(remote)


def shown(backend, record):
    """What a side shows of an object: head, whether it is deleted, and conflicts."""
    head = find(backend, record)
    return None if head is None else (head.etag, head.deleted is not None, frozenset(c.etag for c in head.conflicts))


def without_notes(record):
    return replace(record, envelope={}, version=0, summaries=())

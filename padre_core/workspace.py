"""One store, its services, and the active extensions."""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from padre_core import plugins, query
from padre_core.backends.backend import Backend, Changes, Problem
from padre_core.backends.bytestore import Progress
from padre_core.configuration import StoreSettings, find_url, named_remotes, settings_of
from padre_core.errors import InvalidObjectError, NotFoundError, PadreError, UnsupportedError
from padre_core.hookspecs import Progressed
from padre_core.objects import canonical
from padre_core.objects.base import Handle, PadreObject, meant
from padre_core.objects.code import Code
from padre_core.objects.computation import Computation
from padre_core.objects.experiment import Experiment
from padre_core.objects.identity import check_key, is_id, run_of
from padre_core.objects.kinds import kinds
from padre_core.objects.project import Project
from padre_core.objects.references import Ref
from padre_core.objects.run import Run
from padre_core.objects.split import Split
from padre_core.places import state_folder
from padre_core.services import (
    ArtifactService,
    DatasetService,
    ExecutionService,
    Hooks,
    MetricService,
    OutputService,
    Records,
    RunService,
    Service,
)
from padre_core.services.records import describe, restore_call

if TYPE_CHECKING:
    from padre_core.query.model import Expression
    from padre_core.services.remotes import Remotes
    from padre_core.services.transfer import CopyReport
    from padre_core.sync import Conflicted, Engine, Purged
    from padre_core.tracking import ActiveRun

NAMED = ("project", "experiment", "dataset")

KEPT = timedelta(days=90)
"""How long what was deleted can be restored, at least."""

_CLASSES: Mapping[str, Callable[..., Service[Any]]] = {
    "artifact": ArtifactService,
    "dataset": DatasetService,
    "execution": ExecutionService,
    "metric": MetricService,
    "output": OutputService,
    "run": RunService,
}


def open(
    url: str | os.PathLike[str] | None = None,
    *,
    readonly: bool = False,
    durability: str = "power",
    provider: str | None = None,
    remotes: Mapping[str, str] | None = None,
    extensions: Iterable[object] = (),
    allow_plugins: Iterable[str] | None = None,
    deny_plugins: Iterable[str] = (),
    **options: Any,
) -> Workspace:
    """Opens a workspace on a store, which is made if it is not there.

    Args:
        url: The store, such as `file:///data/lab` or a path. None: `$PADRE_URL`, else the `url` in `padre.toml` in
            this folder or one above, else `./padre-store`.
        durability: What an acknowledged write survives: `power` (a power cut) or `process` (kill -9, faster).
        provider: The distribution to take where several serve the URL's scheme.
        remotes: URLs by name of other stores that keep these objects too. None: those of `padre remote list`.
        extensions: Objects with hook implementations, beside the installed ones.
        allow_plugins: Only distributions of these names, beside core, may provide plugins.
        deny_plugins: Distributions that may not.
        options: For the storage plugin, such as `single_writer=True`.

    Raises:
        PluginNotFoundError: No installed plugin serves the scheme.
        PluginError: An extension does not fit the hooks.
        InvalidObjectError: The URL is malformed.
    """
    url = plugins.check_url(find_url() if url is None else url)
    policy = plugins.Policy.make(allow_plugins, deny_plugins)
    given = [(f"{type(item).__name__}-{place}", item) for place, item in enumerate(extensions, start=1)]
    hooks = Hooks([*plugins.load_extensions(policy), *given])
    backend = plugins.open_backend(
        url, readonly=readonly, durability=durability, provider=provider, policy=policy, **options,
    )  # fmt: skip
    try:
        settings = settings_of(url) if remotes is None else StoreSettings(url, named_remotes(remotes))
        return Workspace(backend, hooks, None if readonly else settings, policy)
    except BaseException:
        backend.close()
        raise


class Workspace:
    """A store with its services; usable with and without `with`, and from several threads at once.

    Attributes:
        backend: The store itself.
        hooks: The extensions and subscribers.
        actor: Who writes: `$PADRE_USER`, else the login name.
        records: What the services share; for what stands beside them, such as tracking.
    """

    def __init__(
        self, backend: Backend, hooks: Hooks | None = None, settings: StoreSettings | None = None,
        policy: plugins.Policy | None = None,
    ) -> None:  # fmt: skip
        self.backend = backend
        self.hooks = hooks or Hooks()
        self.actor = _actor()
        remotes = _remotes(backend, settings, self.actor, policy) if settings and settings.remotes else None
        self.records = Records(backend, self.hooks, self.actor, remotes)
        self.url = self.records.url
        self._end_runs: Callable[[Workspace, BaseException | None], None] | None = None
        self._services: dict[str, Service[Any]] = {}
        for model in kinds():
            self._services[model.kind] = _CLASSES.get(model.kind, Service)(model, self.records, self._services)
        self.projects: Service[Project] = self._services["project"]
        self.experiments: Service[Experiment] = self._services["experiment"]
        self.executions = cast("ExecutionService", self._services["execution"])
        self.runs = cast("RunService", self._services["run"])
        self.splits: Service[Split] = self._services["split"]
        self.computations: Service[Computation] = self._services["computation"]
        self.outputs = cast("OutputService", self._services["output"])
        self.metrics = cast("MetricService", self._services["metric"])
        self.artifacts = cast("ArtifactService", self._services["artifact"])
        self.datasets = cast("DatasetService", self._services["dataset"])
        self.codes: Service[Code] = self._services["code"]

    def service(self, kind: str) -> Service[Any]:
        """The service of a kind, those of plugins included, by the kind's name or its folder (`run` or `runs`).

        Raises:
            InvalidObjectError: There is no such kind.
        """
        for model in kinds():
            if kind in (model.kind, model.folder) and model.kind in self._services:
                return self._services[model.kind]
        known = ", ".join(model.folder for model in kinds())
        raise InvalidObjectError(f"there is no kind {kind!r:.80}; there are {known}")

    def service_of(self, reference: str, kind: str | None = None) -> Service[Any]:
        """The service of what an id, URL or name path means, be it deleted or not.

        Args:
            kind: What is meant, where several kinds have the name.

        Raises:
            NotFoundError: No kind has it.
            UnavailableError: It is not here, and a remote is away.
            InvalidObjectError: Several kinds have it.
        """
        if kind is not None:
            return self.service(kind)
        if "://" in reference:
            place = self.records.at(reference)
            if place is None:
                raise NotFoundError(f"{plugins.safe_url(reference)!r:.200} is not in {self.url}; open its own store")
            return self.service(place[0])
        if is_id(reference):
            found_kind = self.records.kind_of(reference)
            if found_kind is not None:
                return self.service(found_kind)
            if run_of(reference) is not None:
                return self.metrics  # one that follows from points is in no record
            raise NotFoundError(f"{self.url} has no object {reference}")
        found = [service for service in map(self.service, NAMED) if service.has(reference)]
        if len(found) > 1:
            names = " and of a ".join(service.kind for service in found)
            raise InvalidObjectError(f"{reference!r:.200} is the name of a {names}: say which with kind= or --kind")
        away: list[PadreError] = []
        if not found and self.records.remotes is not None:
            found = [service for service in map(self.service, NAMED) if service.has_anywhere(reference, away)]
        if found:
            return found[0]
        gone = list(filter(None, (self.service(kind).buried(reference) for kind in NAMED)))
        if len(gone) == 1:
            return self.service(gone[0].kind)
        if away and not gone:
            raise away[0]
        ways = [f"; {describe(record)} was deleted: {restore_call(record)}" for record in gone]
        raise NotFoundError(f"{self.url} has no project, experiment or dataset {reference!r:.200}{''.join(ways)}")

    def ref(self, object: PadreObject | Handle | str, kind: str | None = None) -> Ref:
        """The kind and id of what is stored here: an object, or its id, URL or name path.

        Raises:
            NotFoundError: It is not here.
        """
        item = meant(object)
        service = self.service(item.kind) if isinstance(item, PadreObject) else self.service_of(item, kind)
        return service.kind, str(service.get(item, refresh="never").id)

    @property
    def remotes(self) -> Engine:
        """What travels between this store and its remotes: `push`, `pull`, `sync` and `status`.

        Raises:
            UnsupportedError: There are none.
        """
        return self._has_remotes().engine

    @property
    def default_remote(self) -> str:
        """The remote that is meant where objects are named and no remote is, as in `padre push iris/svc`.

        Raises:
            UnsupportedError: There are none.
        """
        return self._has_remotes().default

    def _has_remotes(self) -> Remotes:
        if self.records.remotes is None:
            raise UnsupportedError(f"{self.url} has no remotes; `padre remote add NAME URL` adds one")
        return self.records.remotes

    def start_run(
        self,
        experiment: Experiment | str | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        parent: Run | ActiveRun | str | None = None,
        resume: Run | ActiveRun | str | None = None,
    ) -> ActiveRun:
        """Starts a run of an experiment, by default of `default/default`; see `padre_core.tracking.start_run`."""
        from padre_core import tracking

        self._end_runs = tracking.end_runs
        return tracking.start_run(
            self, experiment, parameters=parameters, name=name, tags=tags, parent=parent, resume=resume
        )

    def verify(self, *, quarantine: bool = False) -> Iterator[Problem]:
        """Reads and checks everything that is stored; see `Backend.verify`."""
        return self.backend.verify(quarantine=quarantine)

    def refresh(self, *, accept_edits: bool = False) -> int:
        """Looks for what was changed past PaDRe, and returns how many objects were."""
        return self.backend.refresh(accept_edits=accept_edits)

    def maintain(self, progress: Progress | None = None, *, dry_run: bool = False) -> dict[str, int]:
        """Makes the store smaller or faster to read; see `Backend.maintain` and `Backend.collect`.

        Args:
            dry_run: Change nothing, and say what would be removed.
        """
        done = {} if dry_run else self.backend.maintain(progress)
        return done | self.backend.collect(progress, dry_run=dry_run)

    def purge(
        self,
        *,
        older_than: timedelta = KEPT,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Purged:
        """Removes what was deleted long ago from this store for good, and what those deletions hid.

        Remotes keep what they have; each is purged where it is. What a remote has not heard of yet stays.

        Args:
            dry_run: Change nothing, and say what would be removed.

        Raises:
            UnsupportedError: The store is elsewhere, or cannot.
        """
        from padre_core.sync import purge

        self.backend.capabilities.require("eviction", self.url)
        before = canonical.format_time(datetime.now(UTC) - older_than)
        remotes = {} if self.records.remotes is None else self.records.remotes.engine.remotes
        every = {name: remote.auto for name, remote in remotes.items()}
        return purge(self.backend, every, before=before, dry=dry_run, progress=progress)

    def conflicts(self) -> Iterator[Conflicted]:
        """The objects that were changed on two sides and could not be merged, also in a store without remotes."""
        from padre_core.sync import conflicted

        return (found for head, found in conflicted(self.backend) if self.records.in_scope(head))

    def resolve(
        self,
        object: PadreObject | Handle | str,
        *,
        kind: str | None = None,
        keep: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Any:
        """Ends the conflicts of an object with a version that follows all of them, and returns it.

        Args:
            kind: What a name means, where several kinds have it.
            keep: The etag of the version whose content stays; the head's by default.
            fields: For single fields, the etag of the version to take them from.

        Raises:
            InvalidObjectError: There is no conflict, no such version, or the fields do not fit together.
            ConflictError: Somebody was faster.
        """
        from padre_core.sync import decision

        ref = self.ref(object, kind)
        head = self.backend.get(*ref)  # past the hooks, which may redact what is read
        self.records.resolve(head, decision(head, keep=keep, fields=fields))
        return self.service(ref[0]).get(ref[1], refresh="never")

    def changes(self, cursor: str | None = None, *, limit: int = 1000) -> Changes:
        """What changed in the store since a cursor, whoever changed it, as far as this user may read it."""
        return self.records.changes(cursor, limit)

    def close(self, error: BaseException | None = None) -> None:
        """Ends runs that were left active, finishes what is under way and closes the store. May be called twice.

        Args:
            error: Why; it says how such runs ended.
        """
        try:
            if self._end_runs is not None:
                self._end_runs(self, error)
        finally:
            try:
                if self.records.remotes is not None:
                    self.records.remotes.close()
            finally:
                self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close(error)
        except PadreError as failure:
            if error is None:
                raise
            error.add_note(f"PaDRe could not finish with {self.url}: {failure}")  # the script's own must come through

    def __reduce__(self) -> NoReturn:
        self.records.__reduce__()

    def __repr__(self) -> str:
        return f"<padre workspace {self.url}>"

    def __getattr__(self, name: str) -> Service[Any]:
        services: dict[str, Service[Any]] = self.__dict__.get("_services", {})
        for service in services.values():
            if service.model.folder == name:
                return service
        raise AttributeError(f"a workspace has no attribute {name!r}", name=name, obj=self)


def copy(
    source: Workspace | Backend | str | os.PathLike[str],
    target: Workspace | Backend | str | os.PathLike[str],
    *,
    where: str | Expression | None = None,
    within: PadreObject | Handle | str | None = None,
    progress: Progress | None = None,
) -> CopyReport:
    """Copies between two stores: ids, times, lineages, deletions, streams and blobs; proves equality at the end.

    Args:
        where: Only runs that this filter finds, and what lies in them.
        within: Only what lies below this object of the source, that object, and what they refer to.
        progress: Called with what is done now, how much of it, and of how many.

    Raises:
        BackendError: Afterwards the two stores do not say the same.
    """
    from padre_core.services import transfer

    if isinstance(source, str | os.PathLike):
        with open(source, readonly=True) as opened:
            return copy(opened, target, where=where, within=within, progress=progress)
    if isinstance(target, str | os.PathLike):
        with open(target) as opened:
            return copy(source, opened, where=where, within=within, progress=progress)
    workspace = source if isinstance(source, Workspace) else Workspace(source)
    backend = target.backend if isinstance(target, Workspace) else target
    condition = query.parse(where, "run") if isinstance(where, str) else where
    below = None if within is None else workspace.runs.container(within)
    readable = workspace.records.in_scope if workspace.hooks.scoped else None

    def tell(phase: str, done: int, total: int) -> None:
        workspace.hooks.emit(Progressed(done, total, phase))
        if progress is not None:
            progress(phase, done, total)

    return transfer.copy(workspace.backend, backend, where=condition, within=below, readable=readable, progress=tell)


def _remotes(backend: Backend, settings: StoreSettings, actor: str | None, policy: plugins.Policy | None) -> Remotes:
    """The remotes of a store, none of which is opened before it is needed."""
    from padre_core.services.remotes import Remotes
    from padre_core.sync import CursorFile, Engine, RemoteStore

    stores = [
        RemoteStore(item.name, item.url, partial(plugins.open_backend, item.url, policy=policy), item.policy == "auto")
        for item in settings.remotes.values()
    ]
    # A server says its id itself, which therefore is no part of a path.
    place = hashlib.sha256(f"{settings.url} {backend.info().store}".encode()).hexdigest()[:32]
    cursors = CursorFile(state_folder() / "sync" / f"{place}.json")
    return Remotes(Engine(backend, stores, cursors=cursors, actor=actor), default=settings.default or stores[0].name)


def _actor() -> str | None:
    try:
        name = os.environ.get("PADRE_USER") or getpass.getuser()
    except (KeyError, OSError, ImportError):  # no such user in this container
        return None
    try:
        return check_key(name)
    except ValueError as error:
        raise InvalidObjectError(f"the name of the user {error}: set PADRE_USER") from None

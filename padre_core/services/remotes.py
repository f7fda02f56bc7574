"""The remotes of a workspace as its services use them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from padre_core.backends.backend import Backend
from padre_core.errors import AuthenticationError, InvalidObjectError, PadreError, UnavailableError
from padre_core.objects.record import Record
from padre_core.objects.references import Ref
from padre_core.services.shipper import Shipper
from padre_core.sync import AWAY, Engine
from padre_core.sync.passes import raise_first

logger = logging.getLogger(__name__)


class Remotes:
    """What services ask of remotes. Safe for threads.

    Attributes:
        engine: Carries things over.
        default: The remote that is meant where objects are named and no remote is.
    """

    def __init__(self, engine: Engine, *, default: str) -> None:
        self.engine = engine
        self.default = default
        self._shipper = Shipper(self._ship)
        self._told: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The remotes, in the order in which they are asked."""
        return tuple(self.engine.remotes)

    def changed(self) -> None:
        """Tells that something was stored here which may have to travel; returns at once."""
        if self._automatic:
            self._shipper.wake()

    def upload(self, ref: Ref, remote: str) -> None:
        """Uploads what is stored here, with all that lies below it.

        Raises:
            UnavailableError: The remote is away; that it is to go there is noted.
            AuthenticationError: It does not know who asks; the same.
            PadreError: The remote refused it.
        """
        report = self.engine.push([ref], remotes=[remote])
        away = report.away.get(remote)
        if away is not None:
            error = AuthenticationError if isinstance(away, AuthenticationError) else UnavailableError
            raise error(f"{' '.join(ref)} is stored here, and travels when {remote} answers: {away}") from away
        raise_first(report.failed)

    def learn_deleted(self, ref: Ref, remote: str) -> Record | None:
        """The tombstone of what only the remote knows, and knows as deleted; None also where it gives no answer."""
        try:
            return self.engine.learn_deleted(ref, remote)
        except PadreError:  # what is put is stored here first, whatever is wrong there; the upload tells
            return None

    def reached(self, away: list[PadreError] | None = None) -> Iterator[Backend]:
        """The stores of those remotes that answer; why the others do not is added to `away`."""
        for name in self.names:
            try:
                yield self.engine.pair(name).remote
            except AWAY as error:
                if away is not None:
                    away.append(error)

    def at(self, url: str) -> Ref | None:
        """The folder and id of the object that a remote has at a URL; None if it is no remote's."""
        return next((place for backend in self.reached() if (place := backend.object_at(url)) is not None), None)

    def close(self) -> None:
        """Sends what waits, for a few seconds, and closes the remotes; the rest travels with the next workspace."""
        self._shipper.stop()
        self.engine.close()

    @property
    def _automatic(self) -> list[str]:
        return [name for name, remote in self.engine.remotes.items() if remote.auto]

    def _ship(self) -> bool:
        """Sends what waits; whether all remotes answered."""
        report = self.engine.sync(remotes=self._automatic, background=True)
        if any(step.growing for steps in report.steps.values() for step in steps):
            self._shipper.wake()
        for name, error in report.away.items():
            self._tell(name, error)
        return not report.away

    def _tell(self, name: str, error: PadreError) -> None:
        """Says once what keeps a remote away that time alone does not heal."""
        lasts = isinstance(error, AuthenticationError) or isinstance(error.__cause__, PadreError)
        if lasts and name not in self._told:
            self._told.add(name)
            logger.warning("nothing is sent to %s, and all is kept here: %s", name, error)

    def named(self, name: str) -> str:
        """The remote of a name.

        Raises:
            InvalidObjectError: There is none.
        """
        if name not in self.engine.remotes:
            known = ", ".join(self.names)
            raise InvalidObjectError(f"there is no remote {name!r:.80}; the remotes are: {known}")
        return name

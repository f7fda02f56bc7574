"""What the parts of a running server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from padre_core import Workspace
from padre_core.backends.backend import Backend
from padre_server.audit import Audit
from padre_server.beats import Beats
from padre_server.database import Database
from padre_server.metrics import Metrics
from padre_server.settings import Settings
from padre_server.tokens import Tokens
from padre_server.uploads import Uploads
from padre_server.users import Users
from padre_server.visibility import Visibility

SHORT = 3
"""A path of so few characters says nothing, and may stand in any message by chance."""


@dataclass(frozen=True)
class State:
    """A running server, in one process.

    Attributes:
        workspace: The store, with the server's own extensions.
    """

    settings: Settings
    workspace: Workspace
    database: Database
    tokens: Tokens
    users: Users
    visibility: Visibility
    uploads: Uploads
    beats: Beats
    audit: Audit
    metrics: Metrics = field(default_factory=Metrics)

    @classmethod
    def open(cls, settings: Settings, workspace: Workspace) -> State:
        """Opens what lies in the state folder."""
        folder = Path(settings.state)
        database = Database(folder / "server.db")
        return cls(
            settings=settings,
            workspace=workspace,
            database=database,
            tokens=Tokens(database),
            users=Users(database),
            visibility=Visibility(database, workspace.backend),
            uploads=Uploads(folder / "uploads", settings.limits),
            beats=Beats(folder / "beats"),
            audit=Audit(folder / "audit.jsonl"),
        )

    @property
    def backend(self) -> Backend:
        """The store."""
        return self.workspace.backend

    def hide(self, message: str) -> str:
        """A message without the place of the store on this machine, which is nobody's business."""
        path = unquote(urlsplit(self.workspace.url).path)
        for text in (self.workspace.url, self.settings.store, path if len(path) > SHORT else "", self.settings.state):
            if text:
                message = message.replace(text, "the store")
        return message

    def close(self) -> None:
        """Finishes what is under way and closes all."""
        try:
            self.workspace.close()
        finally:
            self.database.close()
            self.audit.close()

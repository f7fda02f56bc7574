"""Code: which version of which program did the work."""

from enum import StrEnum
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

from pydantic import field_validator

from padre_core.objects import canonical
from padre_core.objects.base import PadreObject


class CodeType(StrEnum):
    """What a code reference names."""

    FUNCTION = "function"
    MODULE = "module"
    FILE = "file"
    COMMAND = "command"
    PACKAGE = "package"
    GIT = "git"


class Code(PadreObject, init=False):
    """A reference to one version of code; its identity is its content, so equal references are one object.

    Attributes:
        function: The qualified name within the module.
        file: The path as the user sees it, relative to the repository where there is one. Data, never opened.
        digest: sha-256 of the file, in hex digits.
        commit: The git commit in hex digits.
        changes: sha-256 over the uncommitted changes; None when there were none.
        url: Where the code can be had; user and password are removed.
    """

    kind: ClassVar[str] = "code"
    folder: ClassVar[str] = "codes"
    frozen_fields: ClassVar[frozenset[str]] = frozenset(
        {"type", "function", "module", "file", "digest", "command", "package", "version", "commit", "changes", "url"}
    )

    type: CodeType
    function: str | None = None
    module: str | None = None
    file: str | None = None
    digest: str | None = None
    command: tuple[str, ...] | None = None
    package: str | None = None
    version: str | None = None
    commit: str | None = None
    changes: str | None = None
    url: str | None = None

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, url: str | None) -> str | None:
        if url is None or "@" not in url:
            return url
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def key(self) -> tuple[str | int | None, ...]:
        fields = {name: getattr(self, name) for name in sorted(self.frozen_fields)}
        return (
            canonical.canonical_json({name: value for name, value in fields.items() if value is not None}).decode(),
        )

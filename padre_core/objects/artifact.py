"""Artifacts: files that belong to an object."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from padre_core.objects.base import Digest, PadreObject, Reference
from padre_core.objects.identity import check_key


def check_path(value: object) -> str:
    """A relative path with `/`, as data; it is checked again where it becomes a path on disk.

    Raises:
        ValueError: It is absolute, too long, or has empty, `.` or `..` parts, backslashes or control characters.
    """
    if not isinstance(value, str):
        raise ValueError(f"expected a path as text, not {type(value).__name__}")
    if "\\" in value:
        raise ValueError(f"{value!r:.200} must not hold backslashes: separate folders with '/'")
    if len(value.encode(errors="replace")) > 4096:
        raise ValueError("must have at most 4096 UTF-8 bytes")
    for part in value.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"{value!r:.200} must be relative, without empty, '.' or '..' parts")
        try:
            check_key(part)
        except ValueError as error:
            raise ValueError(f"{value!r:.200} {error}") from None
    return value


class Artifact(PadreObject, init=False):
    """A file, kept once however often its content is stored.

    Attributes:
        owner: The id of the object that it belongs to.
        owner_kind: The kind of that object.
        path: Within the owner, with `/`.
        digest: sha-256 of the content in hex digits.
        size: In bytes.
    """

    kind: ClassVar[str] = "artifact"
    folder: ClassVar[str] = "artifacts"
    parents: ClassVar[tuple[str, ...]] = ("run", "project", "experiment", "execution", "dataset", "code")
    parent_field: ClassVar[str | None] = "owner"

    owner: Reference
    owner_kind: str = "run"
    path: Annotated[str, BeforeValidator(check_path)]
    digest: Digest
    size: Annotated[int, Field(ge=0, lt=2**63)]
    media_type: str = "application/octet-stream"

    def key(self) -> tuple[str | int | None, ...]:
        return (self.path,)

"""What every kind of object shares: its fields, its content, and how it is checked.

The modules of kinds do not put off annotations: pydantic would compile each text again for every class below its own.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
)
from pydantic_core import core_schema

from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.envelope import parse
from padre_core.objects.identity import check_digest, check_distinct, check_key, check_name, is_id
from padre_core.objects.record import Record


class Given:
    """Marks a type of which only what a program passes in is looked over first, not what is read as JSON.

    That is stored content, which was looked over before it was stored; thousands of objects are listed at once, and
    a call of Python for each field would be most of the time.

    Args:
        check: Returns what the value becomes, or raises ValueError.
    """

    def __init__(self, check: Callable[[object], object]) -> None:
        self._check = check

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        schema = handler(source)
        given = core_schema.no_info_before_validator_function(self._check, schema)
        return core_schema.json_or_python_schema(json_schema=schema, python_schema=given)


def _check_mapping(value: object, check: Callable[[object, str], object]) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping, not {type(value).__name__}")
    keys = check_distinct(tuple(value))
    return dict(zip(keys, map(check, value.values(), keys), strict=True))


def _check_tag(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key}: a tag is text: expected str, not {type(value).__name__}")
    return value


def _check_time(value: object) -> object:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # what is none, pydantic says
            value = canonical.read_time(value)
    return canonical.in_utc(value) if isinstance(value, datetime) else value


def reference(value: object) -> object:
    """Turns an object into the id or the name path by which others refer to it."""
    value = meant(value)
    return value.reference() if isinstance(value, PadreObject) else value


def meant(value: Any) -> Any:
    """The object that a handle stands for; anything else as it is."""
    return value.object if isinstance(value, Handle) else value


Name = Annotated[str, BeforeValidator(check_name)]
Key = Annotated[str, BeforeValidator(check_key)]
Json = Annotated[Any, Given(canonical.plain)]
JsonMap = Annotated[dict[str, Any], Given(lambda value: _check_mapping(value, canonical.plain))]
Tags = Annotated[dict[str, str], Given(lambda value: _check_mapping(value, _check_tag))]
Reference = Annotated[str, Given(reference)]
Time = Annotated[datetime, Given(_check_time)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$"), Given(check_digest)]


class Part(BaseModel):
    """A value inside an object, such as the environment of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class BlobReference(Part):
    """Bytes that are kept beside the objects, named by their content.

    Attributes:
        digest: sha-256 in lower-case hex digits.
        size: In bytes.
    """

    digest: Digest
    media_type: str = "application/octet-stream"
    size: int


class RemoteState(NamedTuple):
    """What the local store knows of an object on one remote.

    Attributes:
        url: Where the object is on the remote.
        etag: The version on which both sides last agreed.
        intent: `track`, `local-only` or `delete`.
    """

    url: str | None = None
    etag: str | None = None
    intent: str = "track"


@dataclass(slots=True)  # not frozen, which costs a listing of thousands of objects a tenth of its time
class Stored:
    """The version that a service returned; the next put of the object must follow it, and keep its key.

    Attributes:
        key: What identified the object within its parent.
        stale: A remote could not be asked for a newer version.
        derived: No store holds it, so that a put is the first.
    """

    record: Record = field(repr=False)
    key: tuple[str | int | None, ...] = ()
    stale: bool = False
    derived: bool = False


class PadreObject(BaseModel):
    """Base of all kinds.

    An object is plain data: making or changing one stores nothing; a service's `put` does. What services
    return carries the version that was read, and `put` of it succeeds only while that version is the newest.
    Not safe to change from several threads at once.

    Attributes:
        id: Given by the service; see `docs/concepts.md` for how it follows from names.
        tags: Text to text, for filters.
        metadata: Text to any JSON value.
        created_at: UTC, stamped by the service, as are `updated_at`, `created_by` and `updated_by`.

    Raises:
        InvalidObjectError: A field is unknown, missing or malformed; the message names it.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, defer_build=True)

    kind: ClassVar[str]
    folder: ClassVar[str]
    parents: ClassVar[tuple[str, ...]] = ()
    parent_field: ClassVar[str | None] = None
    parent_required: ClassVar[bool] = True
    frozen_fields: ClassVar[frozenset[str]] = frozenset()
    outside_content: ClassVar[frozenset[str]] = frozenset(
        {"id", "created_at", "updated_at", "created_by", "updated_by"}
    )

    id: str | None = None
    name: Key | None = None
    title: str | None = None
    description: str | None = None
    tags: Tags = Field(default_factory=dict)
    metadata: JsonMap = Field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    created_by: str | None = None
    updated_by: str | None = None

    # In the object's own dict beside the fields, as pydantic keeps cached properties: a private attribute of pydantic's
    # costs a call of Python for each object that is made.
    _stored: ClassVar[Stored | None] = None

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise invalid(type(self), error) from None

    def __init_subclass__(cls, *, init: bool = True, **options: Any) -> None:
        """Makes a kind.

        Args:
            init: Whether type checkers take the fields' types for those of the constructor's arguments. PaDRe's own
                kinds take more there, such as an object where its id is kept.
        """
        super().__init_subclass__(**options)

    # Tells pydantic that this is its own constructor, which it need not call when it loads stored content.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise invalid(type(self), error) from None

    @property
    def etag(self) -> str | None:
        """The version that was read or written; None before the first `put`."""
        return self._stored.record.etag if self._stored else None

    @property
    def ancestors(self) -> tuple[str, ...]:
        """The ids of the objects above this one, outermost first; empty before the first `put`."""
        return self._stored.record.ancestors if self._stored else ()

    @property
    def deleted(self) -> bool:
        """Whether this is the last state of a deleted object."""
        return self._stored is not None and self._stored.record.deleted is not None

    @property
    def stale(self) -> bool:
        """Whether a remote could not be asked for a newer version."""
        return self._stored is not None and self._stored.stale

    @property
    def conflicts(self) -> tuple[str, ...]:
        """The etags of versions that lost against this one and are kept until somebody resolves them."""
        return tuple(conflict.etag for conflict in self._stored.record.conflicts) if self._stored else ()

    @property
    def remotes(self) -> Mapping[str, RemoteState]:
        """What is known of the object on each remote, by the remote's name."""
        if self._stored is None or not self._stored.record.envelope:
            return {}
        record = self._stored.record
        notes = parse(record.envelope, f"{record.kind} {record.id}").remotes
        return {name: RemoteState(entry.url, entry.base, entry.intent.value) for name, entry in notes.items()}

    @property
    def parent_reference(self) -> str | None:
        """The id or name path of the parent, where the kind has one."""
        return getattr(self, self.parent_field) if self.parent_field else None

    def key(self) -> tuple[str | int | None, ...]:
        """What identifies the object within its parent."""
        return (self.name,)

    def reference(self) -> str:
        """The id, or before the first `put` the name path, by which other objects refer to this one.

        Raises:
            ValueError: It has neither.
        """
        if self.id is not None:
            return self.id
        raise ValueError(f"the {self.kind} was not put yet, so it has no id to refer to")

    def content(self) -> bytes:
        """The canonical JSON of what the object says: all but its id and the bookkeeping.

        Raises:
            InvalidObjectError: A value cannot be stored.
        """
        data = canonical.fields_json(self)
        canonical.check_size(data, self.kind)
        return data

    @classmethod
    def from_content(cls, content: bytes) -> Self:
        """The object of a content from anywhere, checked like one that a person makes.

        Raises:
            InvalidObjectError: The content is not one of this kind.
        """
        try:
            return cls.model_validate(canonical.from_json(content))
        except ValidationError as error:
            raise invalid(cls, error) from None
        except ValueError as error:
            raise InvalidObjectError(f"{cls.kind}.content: {error}") from None

    @classmethod
    def from_stored(cls, contents: Iterable[bytes]) -> list[Self]:
        """The objects of contents that were checked before they were stored; faster, for keys are not checked again.

        Raises:
            InvalidObjectError: A content is not one of this kind.
        """
        try:
            return list(map(cls.__pydantic_validator__.validate_json, contents))
        except ValidationError as error:
            raise invalid(cls, error) from None

    def _bind(self, stored: Stored) -> None:
        # Past validation on purpose: these values come from a store, and are set for every listed object.
        record, values = stored.record, self.__dict__
        values["id"] = record.id
        values["created_at"] = canonical.parse_time(record.created_at)
        values["updated_at"] = canonical.parse_time(record.updated_at)
        values["created_by"] = record.created_by
        values["updated_by"] = record.updated_by
        values["_stored"] = stored


class Handle:
    """What stands for an object wherever one is meant, such as a run that is being worked on."""

    object: PadreObject


class NamedObject(PadreObject, init=False):
    """A kind that is found by its name path: project, experiment, dataset."""

    name: Name

    def reference(self) -> str:
        if self.id is not None:
            return self.id
        parent = self.parent_reference
        return self.name if parent is None or is_id(parent) else f"{parent}/{self.name}"


def invalid(model: type[BaseModel], error: ValidationError) -> InvalidObjectError:
    """What is wrong with the first field of a model, as PaDRe's error."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"])) or "content"
    label = getattr(model, "kind", model.__name__.lower())
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(model.model_fields))
        return InvalidObjectError(f"{label}.{field}: there is no such field; the fields are {known}")
    message = first["msg"].removeprefix("Value error, ")
    return InvalidObjectError(f"{label}.{field}: {message}")

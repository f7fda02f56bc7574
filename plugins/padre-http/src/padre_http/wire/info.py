"""What a server says of itself, and of those who are signed in."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Final, NotRequired

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from padre_core.backends.backend import Info, Problem
from padre_core.backends.capabilities import Capabilities
from padre_core.objects import canonical
from padre_http.secret import Secret
from padre_http.wire import queries, records, shapes, streams
from padre_http.wire.blobs import MAX_BLOBS, MAX_SIZE
from padre_http.wire.shapes import LENIENT, STRICT, Text, parse

API: Final = 1
"""The version of the routes that this package speaks: all are below `/v1`."""

TOGETHER: Final = "together"
"""The feature of servers that carry streams and small blobs of many objects in one request."""

_CAPABILITIES = frozenset(item.name for item in fields(Capabilities)) - {"planned", "eviction", "presign"}
"""All but what concerns only who has the store itself open."""
_Texts = Annotated[tuple[Text, ...], Field(max_length=1000)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Limits(_Model):
    """How much one call may hold; sizes are in bytes."""

    json_body: int = Field(default=shapes.MAX_JSON, ge=1024)
    page: int = Field(default=queries.MAX_PAGE, ge=1)
    batch: int = Field(default=records.MAX_BATCH, ge=1)
    part: int = Field(default=streams.MAX_PART, ge=1024)
    blobs: int = Field(default=MAX_BLOBS, ge=1024)
    chunk: int = Field(default=16 * 1024 * 1024, ge=1024)
    blob: int = Field(default=MAX_SIZE, ge=1)


class StoreInfo(_Model):
    """What the store behind a server is: `padre_core.backends.backend.Info`, without the place where it lies."""

    store: Text
    format: int
    durability: Text
    readonly: bool
    capabilities: _Texts
    planned: _Texts = ()

    @classmethod
    def of(cls, info: Info) -> StoreInfo:
        """What may be told of a backend."""
        return cls(
            store=info.store,
            format=info.format,
            durability=info.durability,
            readonly=info.readonly,
            capabilities=info.capabilities.names(),
            planned=tuple(sorted(info.capabilities.planned)),
        )

    def info(self, url: str, **details: Any) -> Info:
        """The store as a client sees it: shared with others, whatever it is to the server."""
        names = _CAPABILITIES.intersection(self.capabilities) | {"shared"}
        capabilities = Capabilities(**dict.fromkeys(names, True), planned=frozenset(self.planned) - names)
        return Info(url, self.store, self.format, self.durability, self.readonly, capabilities, details)


class ServerInfo(_Model):
    """What `/v1/info` answers.

    Attributes:
        api: The versions of the routes.
        sign_in: How: `password`, `token`.
        features: What it can do that older servers of the same API cannot.
        store: Only for those who are signed in.
    """

    product: Text = "padre-server"
    version: Text
    api: tuple[int, ...] = (API,)
    sign_in: _Texts = ("password", "token")
    features: _Texts = ()
    limits: Limits = Limits()
    store: StoreInfo | None = None


class Identity(_Model):
    """Who is signed in, and what he may do.

    Attributes:
        scopes: Of `read`, `write`, `delete`, `admin`.
        projects: Ids of projects, or `*` for all.
        expires_at: UTC, as stored times are; None for never.
    """

    user: Text
    scopes: _Texts
    projects: _Texts
    expires_at: Text | None = None


class Session(Identity):
    """A token that the server gave out, and whose it is."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    token: Secret


@with_config(LENIENT)
class _Session(TypedDict):
    token: Text


@with_config(STRICT)
class _SignIn(TypedDict):
    name: Text
    password: Text


@with_config(LENIENT)
class _Problem(TypedDict):
    code: Text
    where: str
    message: str
    quarantined: NotRequired[bool]


@with_config(LENIENT)
class _Runs(TypedDict):
    runs: list[Text] | None


_SERVER, _IDENTITY = TypeAdapter(ServerInfo), TypeAdapter(Identity)
_SESSION, _SIGN_IN = TypeAdapter(_Session), TypeAdapter(_SignIn)
_PROBLEM, _RUNS = TypeAdapter(_Problem), TypeAdapter(_Runs)


def encode_model(model: ServerInfo | Identity) -> bytes:
    """What a server says of itself or of a caller."""
    if isinstance(model, Session):
        return canonical.to_json({**model.model_dump(exclude={"token"}), "token": model.token.reveal()})
    return model.model_dump_json().encode()


def decode_info(data: bytes) -> ServerInfo:
    """What a server says of itself.

    Raises:
        InvalidObjectError: It is no PaDRe server.
    """
    return parse(_SERVER, data, "info")


def decode_identity(data: bytes) -> Identity:
    """Who is signed in.

    Raises:
        InvalidObjectError: The text does not say so.
    """
    return parse(_IDENTITY, data, "identity")


def decode_session(data: bytes) -> Session:
    """The token that a server gave out.

    Raises:
        InvalidObjectError: There is none.
    """
    identity = parse(_IDENTITY, data, "session")
    return Session(**identity.model_dump(), token=Secret(parse(_SESSION, data, "session")["token"]))


def encode_sign_in(name: str, password: Secret) -> bytes:
    """The request for a token by name and password."""
    return canonical.to_json({"name": name, "password": password.reveal()})


def decode_sign_in(data: bytes) -> tuple[str, Secret]:
    """Name and password of a request.

    Raises:
        InvalidObjectError: It does not hold them.
    """
    found = parse(_SIGN_IN, data, "sign-in")
    return found["name"], Secret(found["password"])


def encode_problem(problem: Problem) -> bytes:
    """One line of what `verify` finds; the answer ends with a line `{}` or with an error."""
    return b"%b\n" % canonical.to_json(
        {
            "code": problem.code,
            "where": problem.where,
            "message": problem.message,
            "quarantined": problem.quarantined,
        }
    )


def decode_problem(line: bytes) -> Problem:
    """A line of what `verify` found.

    Raises:
        InvalidObjectError: It is none.
    """
    return Problem(**parse(_PROBLEM, line, "verify"))


def encode_runs(runs: set[str] | None) -> bytes:
    """The runs that somebody writes now."""
    return canonical.to_json({"runs": None if runs is None else sorted(runs)})


def decode_runs(data: bytes) -> set[str] | None:
    """The runs that somebody writes now, as the server says.

    Raises:
        InvalidObjectError: It does not say so.
    """
    found = parse(_RUNS, data, "runs")["runs"]
    return None if found is None else set(found)

"""Finding, loading and diagnosing plugins.

A plugin is an entry point of an installed distribution, in one of three groups: `padre.backends` (name = URL scheme, or
`start+` for all schemes that begin so and have no plugin of their own; value = a `ByteStore` or `Backend` class),
`padre.extensions` (an object with hook implementations) and `padre.commands` (name = command, value = a click command).
Metadata is read once a process, at first need; code is imported only when its scheme is opened, its command called or
a workspace takes the extensions.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from padre_core.backends.capabilities import API_VERSION
from padre_core.errors import (
    IncompatiblePluginError,
    InvalidObjectError,
    PluginConflictError,
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
)

if TYPE_CHECKING:
    from importlib_metadata import Distribution, EntryPoint

    from padre_core.backends.backend import Backend
    from padre_core.backends.bytestore import ByteStore

BACKENDS = "padre.backends"
EXTENSIONS = "padre.extensions"
COMMANDS = "padre.commands"
GROUPS = (BACKENDS, EXTENSIONS, COMMANDS)

DURABILITIES = ("power", "process")
CORE = "padre-core"

_OURS = {
    "file": "padre-file",
    "git+": "padre-git",
    "padre+": "padre-http",
    "s3": "'padre-cloud[s3]'",
    "gs": "'padre-cloud[gcs]'",
    "az": "'padre-cloud[azure]'",
    "abfs": "'padre-cloud[azure]'",
    "sftp": "'padre-cloud[sftp]'",
    "webdav": "'padre-cloud[webdav]'",
    "webdavs": "'padre-cloud[webdav]'",
    "fsspec+": "padre-cloud",
}
"""What to install for the schemes, or beginnings of schemes, of the plugins that are made beside core."""

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):(//|:[^/]+://)?")
_USER = re.compile(r"^([a-zA-Z][\w+.-]*:/*)?.*@", re.DOTALL)
_UNSAFE = re.compile("[\x00-\x1f\x7f]")
_NAME = re.compile(r"^Name:\s*(\S+)", re.MULTILINE)

logger = logging.getLogger(__name__)


class State(StrEnum):
    """What `padre plugins` says of a plugin."""

    OK = "ok"
    BROKEN = "BROKEN"
    CONFLICT = "CONFLICT"
    INCOMPATIBLE = "INCOMPATIBLE"
    DENIED = "denied"

    @property
    def faulty(self) -> bool:
        """Whether somebody should do something about it."""
        return self not in (State.OK, State.DENIED)


class PluginInfo(NamedTuple):
    """One installed plugin.

    Attributes:
        name: A URL scheme, a command, or what an extension calls itself.
        value: Where the code is, as `module:attribute`.
        message: What is wrong, and what to do.
    """

    group: str
    name: str
    distribution: str
    version: str
    value: str
    state: State
    message: str = ""


class Policy(NamedTuple):
    """Which distributions may provide plugins.

    Attributes:
        allow: None for all; core's own plugins are always allowed.
        deny: Stronger than `allow`.
    """

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    @classmethod
    def make(cls, allow: Iterable[str] | None = None, deny: Iterable[str] = ()) -> Policy:
        """What the caller says together with `$PADRE_PLUGINS_ALLOW` and `$PADRE_PLUGINS_DENY` (commas between)."""
        denied = {*deny, *_names("PADRE_PLUGINS_DENY")}
        allowed = [set(names) for names in (allow, _names("PADRE_PLUGINS_ALLOW") or None) if names is not None]
        both = functools.reduce(set.intersection, (set(map(_normal, names)) for names in allowed)) if allowed else None
        return cls(None if both is None else frozenset(both), frozenset(map(_normal, denied)))

    def permits(self, distribution: str) -> bool:
        """Whether plugins of a distribution may be used."""
        name = _normal(distribution)
        return name not in self.deny and (self.allow is None or name in self.allow or name == CORE)


def open_backend(
    url: str | os.PathLike[str],
    *,
    readonly: bool = False,
    durability: str = "power",
    provider: str | None = None,
    policy: Policy | None = None,
    **options: Any,
) -> Backend:
    """Opens a store by its URL; a bare path is a folder.

    Args:
        durability: What an acknowledged write survives: `power` (a power cut) or `process` (kill -9).
        provider: The distribution to take when several serve the scheme.
        options: For the plugin; `single_writer=True` lets one writer use a store without conditional writes.

    Raises:
        InvalidObjectError: The URL is malformed or holds a password.
        PluginNotFoundError: No installed plugin serves the scheme.
    """
    from padre_core.backends.bytestore import ByteStore  # `padre --help` looks for commands and opens nothing

    text = check_url(url)
    if durability not in DURABILITIES:
        raise InvalidObjectError(f"durability is 'power' or 'process', not {durability!r:.40}")
    found = backend_class(scheme_of(text), provider=provider, policy=policy)
    if not issubclass(found, ByteStore):
        return found(text, readonly=readonly, durability=durability, **options)  # type: ignore[call-arg]  # the contract
    single_writer = bool(options.pop("single_writer", False))
    store = found(text, readonly=readonly, **options)
    try:
        single_writer = single_writer or store.single_writer
        return _backend_of(store, readonly=readonly, durability=durability, single_writer=single_writer)
    except BaseException:
        store.close()
        raise


def _backend_of(store: ByteStore, *, readonly: bool, durability: str, single_writer: bool) -> Backend:
    if store.log_folder is None and store.capabilities.persistent:
        from padre_core.backends.spooled import SpooledBackend

        return SpooledBackend(store, readonly=readonly, single_writer=single_writer)
    if store.log_folder is None:
        from padre_core.backends.store import ByteStoreBackend

        return ByteStoreBackend(store, readonly=readonly, single_writer=single_writer)
    from padre_core.backends.logged import LoggedBackend

    return LoggedBackend(store, store.log_folder, durability=durability, readonly=readonly, single_writer=single_writer)


def check_url(url: str | os.PathLike[str]) -> str:
    """Returns the URL of a store; a bare path becomes a file URL.

    Raises:
        InvalidObjectError: It is malformed, or holds a password, which is not repeated.
    """
    text = os.fspath(url)
    if not isinstance(text, str) or not text or _UNSAFE.search(text):
        raise InvalidObjectError("the URL of a store is text without control characters, such as file:///data/lab")
    scheme = _SCHEME.match(text)
    if scheme is None:
        from pathlib import Path

        try:
            return Path(text).expanduser().absolute().as_uri()
        except (OSError, RuntimeError) as error:  # the present folder is gone, or there is no such user
            raise InvalidObjectError(f"{text!r:.200} cannot be told from here: {error}; give the whole path") from None
    if not scheme[2]:
        hint = f"for a folder of that name write './{safe_url(text)}', else '{scheme[1]}://…'"
        raise InvalidObjectError(f"{safe_url(text)} is neither a URL nor clearly a path: {hint}")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidObjectError(f"{safe_url(text)} is malformed: expected scheme://place") from None
    if parts.password is not None or ("@" in parts.netloc and parts.scheme in ("http", "https")):
        raise InvalidObjectError(
            f"{safe_url(text)}: a URL must not hold a user's name and password, for it is stored and shown; "
            "give the secret in the environment, such as PADRE_TOKEN"
        )
    return text


def scheme_of(url: str) -> str:
    """The scheme of a checked URL, in lower case."""
    return url.partition(":")[0].lower()


def safe_url(url: str) -> str:
    """A URL as messages may show it: without user and password."""
    return _USER.sub(r"\1***@", url) if "@" in url else url


def backend_class(
    scheme: str, *, provider: str | None = None, policy: Policy | None = None
) -> type[ByteStore | Backend]:
    """The class that serves a URL scheme.

    Raises:
        PluginNotFoundError: None is installed, or it is denied.
        PluginConflictError: Several are, and `provider` does not say which.
        PluginLoadError: It cannot be imported; the cause is chained.
        IncompatiblePluginError: It was made for another version of the contracts.
    """
    policy = policy or Policy.make()
    points = _discover()[BACKENDS]
    served = [point for point in points if point.name == scheme]
    if not served:
        served = [point for point in points if point.name.endswith("+") and scheme.startswith(point.name)]
    allowed = [point for point in served if policy.permits(_distribution(point))]
    found = [point for point in allowed if provider in (None, _distribution(point))]
    if len(found) > 1:
        raise PluginConflictError(_conflict(found))
    if not found:
        raise PluginNotFoundError(_missing(scheme, provider, served, allowed, policy))
    return _load_backend(found[0])


def schemes(policy: Policy | None = None) -> tuple[str, ...]:
    """The URL schemes that installed plugins serve."""
    policy = policy or Policy.make()
    return tuple(sorted({point.name for point in _discover()[BACKENDS] if policy.permits(_distribution(point))}))


def load_extensions(policy: Policy | None = None) -> list[tuple[str, object]]:
    """The installed extensions by name; those that cannot be used are logged and left out."""
    policy = policy or Policy.make()
    loaded: list[tuple[str, object]] = []
    for point in _discover()[EXTENSIONS]:
        if not policy.permits(_distribution(point)):
            continue
        try:
            loaded.append((f"{_distribution(point)}:{point.name}", _load_extension(point)))
        except PluginError as error:
            logger.warning("the extension %s of %s is left out: %s", point.name, _distribution(point), error)
    return loaded


def commands(policy: Policy | None = None) -> Mapping[str, EntryPoint | None]:
    """The entry points of installed commands by name, not yet imported; None where several claim the name."""
    policy = policy or Policy.make()
    found: dict[str, EntryPoint | None] = {}
    for point in _discover()[COMMANDS]:
        if policy.permits(_distribution(point)):
            found[point.name] = None if point.name in found else point
    return found


def load_command(name: str, policy: Policy | None = None) -> Any:
    """Imports an installed command.

    Raises:
        PluginNotFoundError: There is none of this name.
        PluginConflictError: Several distributions have one.
        PluginLoadError: It cannot be imported; the cause is chained.
    """
    policy = policy or Policy.make()
    points = [p for p in _discover()[COMMANDS] if p.name == name and policy.permits(_distribution(p))]
    if not points:
        raise PluginNotFoundError(f"no installed plugin has the command {name!r:.80}")
    if len(points) > 1:
        raise PluginConflictError(_conflict(points))
    return _load(points[0])


def report(policy: Policy | None = None) -> list[PluginInfo]:
    """All installed plugins, each imported to see whether it can be."""
    policy = policy or Policy.make()
    return [_diagnose(point, points, policy) for points in _discover().values() for point in points]


def _diagnose(point: EntryPoint, points: Collection[EntryPoint], policy: Policy) -> PluginInfo:
    state, message = _state(point, points, policy)
    return PluginInfo(
        point.group, point.name, _distribution(point), _version(point), point.value, state=state, message=message
    )


def _state(point: EntryPoint, points: Collection[EntryPoint], policy: Policy) -> tuple[State, str]:
    if not policy.permits(_distribution(point)):
        return State.DENIED, "the allow or deny list excludes it"
    try:
        if point.group == BACKENDS:
            _load_backend(point)
        elif point.group == EXTENSIONS:
            _load_extension(point)
        else:
            _load(point)
    except IncompatiblePluginError as error:
        return State.INCOMPATIBLE, str(error)
    except PluginError as error:
        return State.BROKEN, str(error)
    rivals = [other for other in points if other.name == point.name and policy.permits(_distribution(other))]
    if len(rivals) > 1 and point.group != EXTENSIONS:
        return State.CONFLICT, _conflict(rivals)
    return State.OK, ""


@functools.cache
def _discover() -> dict[str, tuple[EntryPoint, ...]]:
    import importlib_metadata

    points = importlib_metadata.entry_points()
    return {group: tuple(_once_each(points.select(group=group))) for group in GROUPS}


def _once_each(points: Iterable[EntryPoint]) -> Iterator[EntryPoint]:
    """A distribution that is installed twice, such as in a folder and in development, counts once."""
    seen = set()
    for point in sorted(points, key=lambda point: (point.name, _distribution(point))):
        if (point.name, _distribution(point)) not in seen:
            seen.add((point.name, _distribution(point)))
            yield point


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        raise PluginLoadError(
            f"the plugin {point.name!r} of {_distribution(point)} {_version(point)} cannot be imported from "
            f"{point.value}: {type(error).__name__}: {error}; reinstall or remove {_distribution(point)}"
        ) from error


def _load_backend(point: EntryPoint) -> type[ByteStore | Backend]:
    from padre_core.backends.backend import Backend
    from padre_core.backends.bytestore import ByteStore

    loaded = _load(point)
    if not (isinstance(loaded, type) and issubclass(loaded, ByteStore | Backend)):
        raise PluginLoadError(
            f"the plugin {point.name!r} of {_distribution(point)}: {point.value} is no subclass of ByteStore or Backend"
        )
    _check_version(point, loaded.api_version)
    return loaded


def _load_extension(point: EntryPoint) -> object:
    loaded = _load(point)
    _check_version(point, getattr(loaded, "api_version", API_VERSION))
    try:
        return loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        raise PluginLoadError(
            f"the extension {point.name!r} of {_distribution(point)} cannot be made: {type(error).__name__}: {error}"
        ) from error


def _check_version(point: EntryPoint, version: object) -> None:
    if version == API_VERSION:
        return
    upgrade = _distribution(point) if isinstance(version, int) and version < API_VERSION else CORE
    raise IncompatiblePluginError(
        f"the plugin {point.name!r} of {_distribution(point)} {_version(point)} speaks version {version} of the plugin "
        f"API and this padre-core version {API_VERSION}: upgrade {upgrade}"
    )


def _missing(
    scheme: str, provider: str | None, served: list[EntryPoint], allowed: list[EntryPoint], policy: Policy
) -> str:
    if allowed:
        providers = ", ".join(map(_distribution, allowed))
        return f"{provider!r:.80} does not serve {scheme}://; {providers} does: name it as provider="
    if served:
        providers = ", ".join(map(_distribution, served))
        return f"{scheme}:// is served by {providers}, which the allow or deny list of plugins excludes"
    known = _OURS.get(scheme) or _OURS.get(scheme.partition("+")[0] + "+")
    if known:
        return f"no installed plugin serves {scheme}://: pip install {known}"
    family = [f"{name}://" for name in schemes(policy) if name.endswith(f"+{scheme}")]
    if family:
        return f"no installed plugin serves {scheme}://; a store there is named as {' or '.join(family)}"
    installed = ", ".join(f"{name}://" for name in schemes(policy)) or "none"
    return f"no installed plugin serves {scheme}://; installed are {installed}. Install the plugin that serves it"


def _conflict(points: Collection[EntryPoint]) -> str:
    names = [_distribution(point) for point in points]
    first = next(iter(points))
    way_out = f"choose with provider={names[0]!r}, or uninstall one" if first.group == BACKENDS else "uninstall one"
    return f"{' and '.join(names)} both claim {first.name!r} in {first.group}: {way_out}"


def _distribution(point: EntryPoint) -> str:
    return _name(point.dist) if point.dist else "unknown"  # type: ignore[arg-type]  # each is itself only


@functools.cache
def _name(distribution: Distribution) -> str:
    # Read here, for the parser of e-mail that importlib_metadata takes costs more time than all else in opening.
    header = _NAME.search(distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or "")
    return _normal(header[1] if header else distribution.name)


def _version(point: EntryPoint) -> str:
    return point.dist.version if point.dist else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _names(variable: str) -> list[str]:
    return [name for name in os.environ.get(variable, "").split(",") if name.strip()]

"""Which store is meant, and which remotes it has: `padre.toml` beside the store, and the user's own settings.

`padre.toml` names the store of a folder and those below it, and may name its remotes. What a user says of a store that
no such file names goes to `stores.toml` in his settings, under the store's URL.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from padre_core.errors import AlreadyExistsError, BackendError, InvalidObjectError, NotFoundError, PadreError
from padre_core.objects.identity import check_name
from padre_core.places import settings_folder
from padre_core.plugins import check_url

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.container import Container
    from tomlkit.items import Table

DEFAULT_URL = "./padre-store"
CONFIGURATION = "padre.toml"
USERS_OWN = "stores.toml"
MAX_CONFIGURATION = 64 * 1024

POLICIES = ("auto", "manual")


class RemoteSettings(NamedTuple):
    """A remote of a store.

    Attributes:
        policy: `auto`: every put travels, in the background; `manual`: only what is put there by name, and below it.
    """

    name: str
    url: str
    policy: str = "auto"


class StoreSettings(NamedTuple):
    """What is said about one store.

    Attributes:
        remotes: By name, in the order in which they were added.
        default: The remote that commands mean without a name.
        source: The file that says so; None if none does.
    """

    url: str
    remotes: Mapping[str, RemoteSettings] = MappingProxyType({})
    default: str | None = None
    source: Path | None = None


def find_url() -> str:
    """The store of this folder: `$PADRE_URL`, the nearest `padre.toml`, else `./padre-store`.

    Raises:
        InvalidObjectError: `padre.toml` is malformed.
    """
    if url := os.environ.get("PADRE_URL"):
        return url
    file = _nearest()
    return DEFAULT_URL if file is None else _store_of(file, _read(file))


def settings_of(url: str) -> StoreSettings:
    """What is said about a store: by the nearest `padre.toml` if that names it, and by the user's own settings.

    Raises:
        InvalidObjectError: A file is malformed.
    """
    url = check_url(url)
    file = _nearest()
    if file is not None and check_url(_store_of(file, data := _read(file))) == url:
        return _settings(url, data, file)
    own = settings_folder() / USERS_OWN
    if own.is_file():
        said = _read(own).get(url)
        if said is not None:
            return _settings(url, _table(said, own, url), own)
    return StoreSettings(url)


def named_remotes(urls: Mapping[str, str]) -> Mapping[str, RemoteSettings]:
    """Remotes as a program names them, each with the policy `auto`.

    Raises:
        InvalidObjectError: A name or URL is malformed.
    """
    if not isinstance(urls, Mapping):
        raise InvalidObjectError(f"remotes: expected a dict of URLs by name, not {type(urls).__name__}")
    return {name: _checked(name, {"url": url}, "the remote") for name, url in urls.items()}


def add_remote(url: str, remote: RemoteSettings, *, default: bool = False) -> Path:
    """Adds a remote to a store's settings, and returns the file that says so; the first one becomes the default.

    Raises:
        AlreadyExistsError: There is a remote of this name.
        InvalidObjectError: Its name, URL or policy is malformed, or it is the store itself.
        BackendError: The file cannot be written.
    """
    checked = _checked(remote.name, {"url": remote.url, "policy": remote.policy}, "the remote")
    if checked.url == check_url(url):
        raise InvalidObjectError(f"{checked.url} is the store itself, and no remote of it")

    def change(now: StoreSettings, store: Table | Container) -> None:
        if checked.name in now.remotes:
            raise AlreadyExistsError(f"there is a remote {checked.name!r} already: {now.remotes[checked.name].url}")
        remotes = store.setdefault("remotes", {})
        remotes[checked.name] = {"url": checked.url, "policy": checked.policy}
        if default or now.default is None:
            store["default_remote"] = checked.name

    return _change(url, change)


def remove_remote(url: str, name: str) -> Path:
    """Removes a remote from a store's settings; what is stored anywhere stays.

    Raises:
        NotFoundError: There is none of this name.
        BackendError: The file cannot be written.
    """

    def change(now: StoreSettings, store: Table | Container) -> None:
        if name not in now.remotes:
            raise NotFoundError(f"{now.url} has no remote {name!r:.80}; it has {', '.join(now.remotes) or 'none'}")
        del store["remotes"][name]
        if store.get("default_remote") == name:
            del store["default_remote"]
            if rest := [other for other in now.remotes if other != name]:
                store["default_remote"] = rest[0]

    return _change(url, change)


def _nearest() -> Path | None:
    try:
        here = Path.cwd()
    except OSError:  # it was removed, and nothing is above it
        return None
    # Not `is_file`, which raises where a folder may not be looked into.
    return next((file for folder in (here, *here.parents) if os.path.isfile(file := folder / CONFIGURATION)), None)


def _read(file: Path) -> dict[str, Any]:
    import tomllib  # takes as long as opening a store, and most need no such file

    try:
        with file.open("rb") as opened:
            return tomllib.loads(opened.read(MAX_CONFIGURATION).decode())
    except (OSError, ValueError) as error:
        raise InvalidObjectError(f"{file} cannot be read: {error}") from error


def _store_of(file: Path, data: Mapping[str, Any]) -> str:
    url = data.get("url")
    if not isinstance(url, str) or not url:
        raise InvalidObjectError(f'{file} does not name a store: expected url = "…"')
    return url if "://" in url else str(file.parent / url)


def _settings(url: str, data: Mapping[str, Any], file: Path) -> StoreSettings:
    said = _table(data.get("remotes", {}), file, "remotes")
    remotes = {name: _checked(name, _table(table, file, name), f"{file}: the remote") for name, table in said.items()}
    default = data.get("default_remote")
    if default is not None and default not in remotes:
        raise InvalidObjectError(f"{file}: default_remote is {default!r:.80}, and there is no such remote")
    return StoreSettings(url, remotes, default, file)


def _table(value: object, file: Path, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidObjectError(f"{file}: {name!r:.80} is no table")
    return value


def _checked(name: str, table: Mapping[str, Any], what: str) -> RemoteSettings:
    unknown = table.keys() - {"url", "policy"}
    url, policy = table.get("url"), table.get("policy", "auto")
    if unknown or not isinstance(url, str) or policy not in POLICIES:
        raise InvalidObjectError(f"{what} {name!r:.80} takes a url and a policy, {' or '.join(POLICIES)}")
    try:
        return RemoteSettings(check_name(name), check_url(url), policy)
    except ValueError as error:
        raise InvalidObjectError(f"{what} {name!r:.80}: {error}") from error


def _change(url: str, change: Callable[[StoreSettings, Table | Container], None]) -> Path:
    """Lets a function change what is said about a store, and keeps all else in the file as it is, comments too."""
    import tomlkit

    file = settings_of(url).source or settings_folder() / USERS_OWN
    try:
        with _exclusive(file.parent):
            now = settings_of(url)
            document: TOMLDocument = tomlkit.parse(file.read_text()) if file.exists() else tomlkit.document()
            change(now, document if file.name == CONFIGURATION else document.setdefault(now.url, tomlkit.table()))
            _replace(file, tomlkit.dumps(document))
    except OSError as error:
        if isinstance(error, PadreError):
            raise
        raise BackendError(f"{file} cannot be written: {error.strerror}") from error
    return file


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """While held, no other process changes a file of settings in the folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(file: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}")
    try:
        with os.fdopen(handle, "w") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        os.chmod(temporary, file.stat().st_mode & 0o777 if file.exists() else 0o644)
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise

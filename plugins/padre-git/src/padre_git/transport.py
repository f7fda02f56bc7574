"""Fetching from a repository elsewhere, and pushing to it.

The program never sees the clone's own configuration, hooks or references: each transfer has a git directory of its own,
which borrows the clone's objects. What is fetched stays there until somebody has looked at it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from padre_core.errors import CorruptObjectError
from padre_core.progress import telling
from padre_core.streams.filesystems import sync_folder
from padre_git import program
from padre_git.address import Address, Credentials
from padre_git.environment import IDLE, Setting
from padre_git.failures import meaning, meaning_of_push
from padre_git.program import GitFailedError, Watch

MAX_FETCH = 64 << 30
"""How many bytes one fetch may bring."""

_PREFIX = "padre-transfer-"
_SETTLED = 10.0
"""For how many seconds a folder may be young: it is made first, and locked then."""

_THEIRS = "refs/padre/theirs"
_HELPER = '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$PADRE_SIGN_USER" "$PADRE_SIGN_TOKEN"; }; f'
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched, and not yet taken up.

    Attributes:
        folder: A git directory that holds the new objects, and borrows the clone's.
        tip: The commit that the branch elsewhere points to.
    """

    folder: Path
    tip: str


class Transport:
    """One repository elsewhere, by the `git` program. Safe for threads.

    Args:
        repository: The clone's git directory.
        idle: For how many seconds a transfer may make no progress.
        limit: How many bytes a fetch may bring.
    """

    def __init__(
        self, address: Address, repository: Path, signing: Credentials | None = None, *, idle: float = IDLE,
        limit: int = MAX_FETCH,
    ) -> None:  # fmt: skip
        self.address, self.repository = address, repository
        self._signing, self._idle, self._limit = signing, idle, limit
        self._lock = threading.Lock()
        self._settings: list[Setting] | None = None

    @contextlib.contextmanager
    def fetch(self, branch: str, have: Sequence[str]) -> Iterator[Fetched | None]:
        """The commits of a branch elsewhere, in a folder that is removed afterwards; None if it has no such branch.

        Args:
            have: Commits that the clone has, and need not be sent.

        Raises:
            PadreError: It cannot be reached, refuses, or sends what is no sound repository.
        """
        with self._folder(have) as folder:
            try:
                self._run(
                    folder, "fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
                    "--end-of-options", self.address.url, f"+refs/heads/{branch}:{_THEIRS}",
                )  # fmt: skip
            except GitFailedError as error:
                if "couldn't find remote ref" in error.message:
                    yield None
                    return
                raise meaning(error, self.address.url) from None
            yield Fetched(folder, (folder / _THEIRS).read_text("ascii").strip())

    def take_up(self, fetched: Fetched) -> None:
        """Moves what was fetched to the objects of the clone; it survives the loss of power afterwards."""
        target = self.repository / "objects"
        for source in sorted((fetched.folder / "objects").glob("[0-9a-f][0-9a-f]/*")):
            _move(source, target / source.parent.name / source.name)
        for suffix in (".pack", ".rev", ".idx"):  # readers look for the last
            for source in sorted((fetched.folder / "objects" / "pack").glob(f"pack-*{suffix}")):
                _move(source, target / "pack" / source.name)
        sync_folder(target / "pack")

    def sweep(self) -> None:
        """Removes what transfers of processes that were killed left behind."""
        for folder in self.repository.glob(f"{_PREFIX}*"):
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if time.time() - os.fstat(lock).st_mtime > _SETTLED:
                        shutil.rmtree(folder, ignore_errors=True)
                except BlockingIOError:
                    continue
                finally:
                    os.close(lock)

    def push(self, branch: str, tip: str) -> None:
        """Moves a branch elsewhere to a commit that follows on it, or makes it.

        Raises:
            RefusedError: It does not follow.
            PadreError: It cannot be reached, or does not allow it.
        """
        with self._folder([tip]) as folder:
            try:
                self._run(
                    folder, "push", "--porcelain", "--progress", "--no-verify", "--no-follow-tags", "--thin",
                    "--end-of-options", self.address.url, f"{tip}:refs/heads/{branch}",
                )  # fmt: skip
            except GitFailedError as error:
                raise meaning_of_push(error, self.address.url, branch) from None

    def credentials(self) -> tuple[str, str] | None:
        """Name and token for what else the server has, from the same places as git's own; None if there are none."""
        if self._signing is not None:
            return self._signing.user, self._signing.token
        with self._folder([]) as folder:
            asked = f"url={self.address.url}\n\n".encode()
            try:
                said = program.run(folder, "credential", "fill", settings=self._honoured(folder), given=asked)
            except GitFailedError:
                return None  # nobody knows any, and nobody was asked
        found = dict(line.partition("=")[::2] for line in said.decode(errors="replace").splitlines())
        return (found["username"], found["password"]) if {"username", "password"} <= found.keys() else None

    def authenticate(self, operation: str) -> bytes:
        """What the server's `git-lfs-authenticate` says, over ssh."""
        with self._folder([]) as folder:
            command = self._ssh_command(self._honoured(folder))
            parts = urlsplit(self.address.url)
            port = ["-p", str(parts.port)] if parts.port else []
            host = f"{parts.username}@{parts.hostname}" if parts.username else str(parts.hostname)
            path = shlex.quote(parts.path.lstrip("/"))
            words = [*shlex.split(command), *port, host, f"git-lfs-authenticate {path} {operation}"]
            return program.converse(words, idle=self._idle)

    def authority(self) -> str | None:
        """The file of certificates that the user trusts besides the system's, if git knows one."""
        with self._folder([]) as folder:
            keys = {key.lower(): value for key, value in self._honoured(folder)}
        return os.environ.get("GIT_SSL_CAINFO", keys.get("http.sslcainfo"))

    @contextlib.contextmanager
    def _folder(self, have: Sequence[str]) -> Iterator[Path]:
        """A git directory for one transfer, beside the objects that it borrows."""
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.repository))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever sweeps sees that it is in use
            for name in ("objects/pack", "objects/info", "refs/padre", "refs/heads"):
                (folder / name).mkdir(parents=True)
            (folder / "HEAD").write_text("ref: refs/heads/none\n")
            (folder / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
            (folder / "objects/info/alternates").write_text(f"{self.repository / 'objects'}\n")
            for place, commit in enumerate(dict.fromkeys(have)):
                (folder / f"refs/heads/have-{place}").write_text(f"{commit}\n")
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def _run(self, folder: Path, *arguments: str) -> bytes:
        settings = [*self._honoured(folder)]
        environment: dict[str, str] = {}
        if self._signing is not None:
            settings += [("credential.helper", ""), (f"credential.{self._signing.origin}.helper", ""),
                         (f"credential.{self._signing.origin}.helper", _HELPER)]  # fmt: skip
            environment = {"PADRE_SIGN_USER": self._signing.user, "PADRE_SIGN_TOKEN": self._signing.token}
        if self.address.protocol == "ssh":
            environment["GIT_SSH_COMMAND"] = self._ssh_command(settings)
        with telling() as tell:
            return program.run(
                folder, *arguments, settings=settings, protocols=[self.address.protocol], environment=environment,
                watch=Watch(self._idle, tell, lambda: self._weigh(folder)),
            )  # fmt: skip

    def _ssh_command(self, settings: Sequence[Setting]) -> str:
        own = next((value for key, value in reversed(settings) if key.lower() == "core.sshcommand"), _SSH)
        return os.environ.get("GIT_SSH_COMMAND", own)

    def _honoured(self, folder: Path) -> list[Setting]:
        with self._lock:
            if self._settings is None:
                self._settings = program.honoured(folder)
            return self._settings

    def _weigh(self, folder: Path) -> None:
        size = 0
        for file in (folder / "objects" / "pack").iterdir():
            with contextlib.suppress(FileNotFoundError):
                size += file.stat().st_size
        if size > self._limit:
            raise CorruptObjectError(
                f"{self.address.url} sends more than {self._limit} bytes at once; nothing of it was kept. "
                "If that is right, open it with a greater max_fetch"
            )


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        return
    os.rename(source, target)
    sync_folder(target.parent)

"""The one place that runs the `git` program.

Whatever a repository or the environment says, the program runs no hook, filter, monitor or pager, asks nobody anything,
and opens no connection but those that the caller names. Settings reach it by its environment: neither the list of
processes nor a file ever shows them.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from padre_core.errors import BackendError, UnavailableError, UnsupportedError
from padre_core.progress import Tell
from padre_git.environment import IDLE, Setting, kept, variables

_TICK = 0.5
_OUTPUT = 64 * 1024 * 1024
_HONOURED = re.compile(
    r"credential\..+|core\.sshcommand"
    r"|http\.(?:.+\.)?(?:proxy|proxyauthmethod|proxysslcert|proxysslkey|proxysslcainfo|sslcainfo|sslcapath|sslcert|sslkey"
    r"|sslcertpasswordprotected|emptyauth|delegation)"
    r"|http\..+\.extraheader",
    re.IGNORECASE,
)
_FAR = re.compile(
    rb"(?:remote: )?((?:Counting|Compressing|Receiving|Unpacking|Writing) objects|Resolving deltas): +"
    rb"\d{1,3}% \((\d{1,15})/(\d{1,15})\)"
)
_PROGRESS = re.compile(r"^(remote: )?[A-Z][a-z ]+: +\d+(% \(|, done|$)")


class GitFailedError(Exception):
    """The program ended with an error; its caller knows what that means.

    Attributes:
        code: What it ended with; a negative signal if it was ended.
        message: What it said, in plain English.
    """

    def __init__(self, code: int, output: bytes, message: str) -> None:
        super().__init__(message)
        self.code, self.output, self.message = code, output, message


@dataclass(frozen=True, slots=True)
class Watch:
    """What happens while the program runs.

    Attributes:
        idle: For how many seconds it may be silent.
        tell: Called with how far it is.
        check: Called twice a second; what it raises ends the program.
    """

    idle: float = IDLE
    tell: Tell = lambda phase, done, total: None
    check: Callable[[], None] = lambda: None


def run(
    folder: Path,
    *arguments: str,
    settings: Iterable[Setting] = (),
    protocols: Iterable[str] = (),
    environment: Mapping[str, str | None] | None = None,
    given: bytes = b"",
    watch: Watch | None = None,
) -> bytes:
    """Runs a git command on a repository and returns its standard output.

    Args:
        folder: The git directory.
        arguments: The command's. What comes from outside stands behind `--end-of-options`.
        settings: Of git's configuration, stronger than those of the repository.
        protocols: Over which it may transfer; none by default.
        environment: More variables, such as those that a credential helper reads; None leaves one out.
        given: Its standard input.

    Raises:
        GitFailedError: It ended with an error.
        UnavailableError: It was silent for too long.
        UnsupportedError: There is no git program.
    """
    told = {**variables(folder, settings, protocols), **(environment or {})}
    try:
        process = subprocess.Popen(
            ["git", *arguments], cwd="/", start_new_session=True,
            env={name: value for name, value in told.items() if value is not None},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError:
        raise UnsupportedError("this needs the program git, version 2.31 or newer, on the PATH") from None
    except OSError as error:
        raise BackendError(f"git cannot be started: {error.strerror}") from error
    try:
        output, message = _converse(process, given, watch or Watch(), arguments[0])
    finally:
        _end(process)
    if process.returncode:
        raise GitFailedError(process.returncode, output, message)
    return output


def converse(words: Sequence[str], *, idle: float = IDLE) -> bytes:
    """Runs an ssh command, as the user set it up, and returns its standard output; empty if it fails."""
    try:
        done = subprocess.run(
            words, cwd="/", env={**kept(), "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}, capture_output=True,
            check=False, stdin=subprocess.DEVNULL, timeout=idle,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{words[0]} made no progress for {idle:.0f} s and was ended") from None
    except OSError as error:
        raise BackendError(f"{words[0]} cannot be started: {error.strerror}") from error
    return done.stdout if not done.returncode else b""


def honoured(folder: Path) -> list[Setting]:
    """What of the user's and the system's git configuration holds for transfers: how to sign in, and the way there.

    Credential helpers, proxies, certificates and the ssh command; neither URLs that stand for others, nor anything that
    a repository says, nor that certificates need not be checked.

    Args:
        folder: Any git directory with no configuration that is not ours.
    """
    own: dict[str, str | None] = {name: os.environ.get(name) for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")}
    own["GIT_CONFIG_NOSYSTEM"] = os.environ.get("GIT_CONFIG_NOSYSTEM", "false")
    try:
        listing = run(folder, "config", "--list", "--includes", "-z", "--show-scope", environment=own)
    except GitFailedError as error:
        raise BackendError(f"your git configuration cannot be read: {error.message}") from error
    words = iter(listing.decode(errors="surrogateescape").split("\0"))
    found = []
    for scope, entry in zip(words, words, strict=False):
        key, newline, value = entry.partition("\n")
        if scope in ("system", "global") and _HONOURED.fullmatch(key):
            found.append((key, value if newline else "true"))
    return found


def _converse(process: subprocess.Popen[bytes], given: bytes, watch: Watch, command: str) -> tuple[bytes, str]:
    """Writes the input and reads both outputs, as long as something happens."""
    stdin, stdout, stderr = (cast("BinaryIO", pipe) for pipe in (process.stdin, process.stdout, process.stderr))
    said = {stdout.fileno(): bytearray(), stderr.fileno(): bytearray()}
    output, messages = said.values()
    told = 0
    last = time.monotonic()
    os.set_blocking(stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        for fd in said:
            selector.register(fd, selectors.EVENT_READ)
        if given:
            selector.register(stdin, selectors.EVENT_WRITE)
        else:
            stdin.close()
        while selector.get_map():
            events = selector.select(_TICK)
            watch.check()
            if not events and time.monotonic() - last > watch.idle:
                raise UnavailableError(
                    f"git {command} made no progress for {watch.idle:.0f} s and was ended; try again"
                )
            for key, _ in events:
                last = time.monotonic()
                if key.fileobj is stdin:
                    given = _rest(stdin.fileno(), given)
                    if not given:
                        selector.unregister(stdin)
                        stdin.close()
                    continue
                data = os.read(key.fd, 65536)
                said[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
                if len(said[key.fd]) > _OUTPUT:
                    raise BackendError(f"git {command} says more than it should and was ended")
            told = _tell(messages, told, watch.tell)
    process.wait()
    return bytes(output), plain(messages.decode(errors="replace"))


def _rest(stdin: int, given: bytes) -> bytes:
    """What is still to be written; nothing once the program no longer reads."""
    try:
        return given[os.write(stdin, given[: 1 << 16]) :]
    except BlockingIOError:
        return given
    except BrokenPipeError:
        return b""


def _tell(said: bytearray, told: int, tell: Tell) -> int:
    end = max(said.rfind(b"\r"), said.rfind(b"\n")) + 1
    for line in re.split(rb"[\r\n]", said[told:end]) if end > told else ():
        found = _FAR.match(line)  # only what git itself may say, for the other side's words come here too
        if found:
            tell(found[1].decode().lower(), int(found[2]), int(found[3]))
    return max(end, told)


def plain(text: str) -> str:
    """What a program or a server said, without control characters, progress and all but the last lines."""
    lines = [re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", " ", line).strip() for line in
             re.split(r"[\r\n]+", text)]  # fmt: skip
    return "\n".join([line for line in lines if line and not _PROGRESS.search(line)][-20:])[:4000]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and what it started, if it still runs."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()

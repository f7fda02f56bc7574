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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from padre_core.errors import BackendError, UnavailableError, UnsupportedError
from padre_core.progress import Tell

IDLE = 60.0
"""For how many seconds a program may be silent before it is ended."""

_TICK = 0.5
_OUTPUT = 64 * 1024 * 1024
_PROTOCOLS = ("http", "https", "ssh", "git", "file", "ext", "fd", "ftp", "ftps")
_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|XDG_\w+|SSH_AUTH_SOCK|SSH_AGENT_PID|DBUS_SESSION_BUS_ADDRESS|DISPLAY|WAYLAND_DISPLAY"
    r"|GNUPGHOME|KRB5CCNAME|SSL_CERT_FILE|SSL_CERT_DIR|GIT_SSL_CAINFO|GIT_SSL_CAPATH|(?i:(https?|all|no)_proxy)"
)
_HONOURED = re.compile(
    r"credential\..+|core\.sshcommand"
    r"|http\.(?:.+\.)?(?:proxy|proxyauthmethod|proxysslcert|proxysslkey|proxysslcainfo|sslcainfo|sslcapath|sslcert|sslkey"
    r"|sslcertpasswordprotected|emptyauth|delegation)"
    r"|http\..+\.extraheader",
    re.IGNORECASE,
)
_FIXED: Sequence[tuple[str, str]] = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.pager", "cat"),
    ("core.fsync", "all"),
    ("core.alternateRefsCommand", "true"),
    ("credential.interactive", "false"),
    ("fetch.fsckObjects", "true"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("http.followRedirects", "false"),
    ("http.sslVerify", "true"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", str(int(IDLE))),
    ("maintenance.auto", "false"),
    ("protocol.allow", "never"),
    ("protocol.version", "2"),
    ("push.followTags", "false"),
    ("push.recurseSubmodules", "no"),
    ("submodule.recurse", "false"),
    ("transfer.fsckObjects", "true"),
)

Setting = tuple[str, str]
"""A key of git's configuration, and its value."""


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
    environment: Mapping[str, str] | None = None,
    given: bytes = b"",
    watch: Watch | None = None,
) -> bytes:
    """Runs a git command on a repository and returns its standard output.

    Args:
        folder: The git directory.
        arguments: The command's. What comes from outside stands behind `--end-of-options`.
        settings: Of git's configuration, stronger than those of the repository.
        protocols: Over which it may transfer; none by default.
        environment: More variables, such as those that a credential helper reads.
        given: Its standard input.

    Raises:
        GitFailedError: It ended with an error.
        UnavailableError: It was silent for too long.
        UnsupportedError: There is no git program.
    """
    allowed = [(f"protocol.{name}.allow", "always" if name in protocols else "never") for name in _PROTOCOLS]
    variables = {**_environment(folder, [*_FIXED, *allowed, *settings]), **(environment or {})}
    try:
        process = subprocess.Popen(
            ["git", *arguments], cwd="/", env=variables, start_new_session=True,
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
    environment = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    try:
        done = subprocess.run(
            words, cwd="/", env={**environment, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}, capture_output=True,
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
    own = {name: os.environ[name] for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM") if name in os.environ}
    variables = {"GIT_CONFIG_NOSYSTEM": os.environ.get("GIT_CONFIG_NOSYSTEM", "false"), **own}
    reading = {"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"} - variables.keys()
    try:
        listing = _run_plain(folder, reading, variables, "config", "--list", "--includes", "-z", "--show-scope")
    except GitFailedError as error:
        raise BackendError(f"your git configuration cannot be read: {error.message}") from error
    words = iter(listing.decode(errors="surrogateescape").split("\0"))
    found = []
    for scope, entry in zip(words, words, strict=False):
        key, newline, value = entry.partition("\n")
        if scope in ("system", "global") and _HONOURED.fullmatch(key):
            found.append((key, value if newline else "true"))
    return found


def _run_plain(folder: Path, without: set[str], variables: Mapping[str, str], *arguments: str) -> bytes:
    environment = {name: value for name, value in _environment(folder, ()).items() if name not in without}
    done = subprocess.run(
        ["git", *arguments], cwd="/", env={**environment, **variables}, capture_output=True, check=False,
        stdin=subprocess.DEVNULL, timeout=IDLE,
    )  # fmt: skip
    if done.returncode:
        raise GitFailedError(done.returncode, done.stdout, done.stderr.decode(errors="replace").strip())
    return done.stdout


def _environment(folder: Path, settings: Sequence[Setting]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    counted = {"GIT_CONFIG_COUNT": str(len(settings))}
    for place, (key, value) in enumerate(settings):
        counted[f"GIT_CONFIG_KEY_{place}"] = key
        counted[f"GIT_CONFIG_VALUE_{place}"] = value
    return {
        **kept,
        **counted,
        "GIT_ASKPASS": "",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_DIR": str(folder),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "SSH_ASKPASS_REQUIRE": "never",
    }


def _converse(process: subprocess.Popen[bytes], given: bytes, watch: Watch, command: str) -> tuple[bytes, str]:
    """Writes the input and reads both outputs, as long as something happens."""
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ValueError("all three must be pipes")
    said = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    told = 0
    last = time.monotonic()
    with selectors.DefaultSelector() as selector, _non_blocking(process):
        for fd in said:
            selector.register(fd, selectors.EVENT_READ)
        if given:
            selector.register(process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        while selector.get_map():
            events = selector.select(_TICK)
            watch.check()
            if not events and time.monotonic() - last > watch.idle:
                raise UnavailableError(
                    f"git {command} made no progress for {watch.idle:.0f} s and was ended; try again"
                )
            for key, _ in events:
                last = time.monotonic()
                if key.fileobj is process.stdin:
                    given = _written(process, given)
                    if not given:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                data = os.read(key.fd, 65536)
                said[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
                if len(said[key.fd]) > _OUTPUT:
                    raise BackendError(f"git {command} says more than it should and was ended")
            told = _tell(said[process.stderr.fileno()], told, watch.tell)
    process.wait()
    message = said[process.stderr.fileno()].decode(errors="replace")
    return bytes(said[process.stdout.fileno()]), plain(message)


@contextlib.contextmanager
def _non_blocking(process: subprocess.Popen[bytes]) -> Iterator[None]:
    if process.stdin is not None:
        os.set_blocking(process.stdin.fileno(), False)
    yield


def _written(process: subprocess.Popen[bytes], given: bytes) -> bytes:
    """What is still to be written; nothing once the program no longer reads."""
    if process.stdin is None:
        return b""
    try:
        return given[os.write(process.stdin.fileno(), given[: 1 << 16]) :]
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


_FAR = re.compile(
    rb"(?:remote: )?((?:Counting|Compressing|Receiving|Unpacking|Writing) objects|Resolving deltas): +"
    rb"\d{1,3}% \((\d{1,15})/(\d{1,15})\)"
)
_PROGRESS = re.compile(r"^(remote: )?[A-Z][a-z ]+: +\d+(% \(|, done|$)")


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

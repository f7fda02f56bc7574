"""Where and from what a run is made: platform, packages, and the version of the code.

Everything here looks and never touches: git is asked three read-only questions that take no locks and start no
hooks, filters, monitors or helpers; without a repository no process is started at all. Environment variables are
never read into what is stored, and command lines lose what looks like a secret.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from padre_core.objects.code import Code, CodeType
from padre_core.objects.execution import Execution
from padre_core.objects.experiment import Experiment
from padre_core.objects.project import Project
from padre_core.objects.run import Environment, Run
from padre_core.pausing import collector_paused

GIT_TIMEOUT = 5
"""Seconds that git may take for one answer before the code counts as outside of any repository."""

MAX_CHANGED = 64 * 1024 * 1024
"""How many bytes of changed files enter the digest; of what is beyond only names and sizes do."""

SOURCES = (
    ".c", ".cc", ".cfg", ".cpp", ".cu", ".cxx", ".go", ".h", ".hpp", ".ini", ".ipynb", ".java", ".jl", ".js", ".lua",
    ".m", ".pxd", ".py", ".pyi", ".pyx", ".r", ".rs", ".scala", ".sh", ".smk", ".sql", ".toml", ".ts", ".yaml", ".yml",
)  # fmt: skip
"""Suffixes of untracked files that count as changes: a result that a script writes is no new version of the script."""

_REDACTED = "***"
_WORD = (
    r"(?:pass(?:word|wd|phrase|code)|(?<![a-z])pass(?![a-z])|pwd(?![a-z])|secret|token(?![a-z])|credential|bearer|"
    r"(?<![a-z])auth(?![a-z])|authorization|(?:api|access|account|private|signing)[-_.]?key)"
)
_SENSITIVE = re.compile(_WORD, re.IGNORECASE)
# Texts, for few command lines hold such a word, and all others need not wait until these are compiled.
_OPTION = rf"(?i)--?[\w.-]*{_WORD}[\w.-]*"
_ASSIGNMENT = rf"(?is)([-+\w.]*{_WORD}[\w.-]*=).+"
_EMBEDDED = rf"(?i)({_WORD}[\w.-]*[\"']?\s*[=:]\s*(?:(?:bearer|basic)\s+)?)(\"[^\"]*\"|'[^']*'|[^\s&;,\"']+)"
_USER_INFO = re.compile(r"((?<![\w+.-])\w[\w+.-]*://)[^\s/?#@]+@")
_KNOWN_TOKEN = re.compile(r"\b(?:padre|gh[oprsu]|github_pat|glpat|hf|sk|xox[abp])[-_][\w-]{16,}")


class Capture(NamedTuple):
    """What this process is, found out once.

    Attributes:
        command: The command line, redacted.
        environment: Without its packages, for these are kept as a blob.
        packages: Installed distributions, normalised name to version, sorted.
    """

    code: Code
    command: tuple[str, ...]
    environment: Environment
    packages: dict[str, str]


@functools.cache
@collector_paused()  # what is made here stays, the classes before all
def capture() -> Capture:
    """The code, the command and the environment of this process.

    The code is the git commit and the uncommitted changes of the repository that the main script lies in, else the
    digest of the script's file, else (standard input, `-c`, a notebook) the command alone.
    """
    system = os.uname()
    command = _command()
    script = _main_script()
    root = _repository(script) if script else None
    version = _git_version_beside(root) if root else None
    _build_models()
    commit, changes = version or (None, None)
    if script and root and version:
        file = script.relative_to(root).as_posix()
        code = Code(type=CodeType.GIT, file=file, commit=commit, changes=changes)
    elif script:
        code = Code(type=CodeType.FILE, file=script.name, digest=_file_digest(script))
    else:
        code = Code(type=CodeType.COMMAND, command=command)
    environment = Environment(
        changes=changes,
        commit=commit,
        hostname=system.nodename,
        platform=f"{system.sysname}-{system.release}-{system.machine}",
        processors=os.cpu_count(),
        python=sys.version.partition(" ")[0],
    )
    return Capture(code, command, environment, packages=installed_packages(sys.path))


def installed_packages(paths: Iterable[str]) -> dict[str, str]:
    """Installed distributions, normalised name to version, sorted; the first on the path counts.

    Read from the names of the `.dist-info` folders alone, for opening each one's metadata takes much longer.
    """
    packages: dict[str, str] = {}
    for path in paths:
        try:
            names = os.listdir(path or ".")
        except OSError:
            continue  # paths need not exist
        for entry in names:
            if entry.endswith(".dist-info"):
                name, _, version = entry.removesuffix(".dist-info").partition("-")
                packages.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return dict(sorted(packages.items()))


def redact(command: Iterable[str]) -> tuple[str, ...]:
    """A command line without values of options that look like secrets, known tokens, and users in urls."""
    redacted: list[str] = []
    secret_follows = False
    for argument in command:
        if secret_follows and not argument.startswith("--"):
            redacted.append(_REDACTED)
            secret_follows = False
            continue
        secret_follows = bool(_SENSITIVE.search(argument) and re.fullmatch(_OPTION, argument))
        redacted.append(_redact(argument))
    return tuple(redacted)


def _redact(text: str) -> str:
    if _SENSITIVE.search(text):
        if whole := re.fullmatch(_ASSIGNMENT, text):
            return whole[1] + _REDACTED
        text = re.sub(_EMBEDDED, rf"\1{_REDACTED}", text)
    text = _USER_INFO.sub(rf"\1{_REDACTED}@", text)
    return _KNOWN_TOKEN.sub(_REDACTED, text)


def _command() -> tuple[str, ...]:
    program, *arguments = sys.orig_argv or ["python"]
    if "ipykernel" in sys.modules:
        arguments = ["-m", "ipykernel_launcher"]  # the connection file's name differs with each start
    # What the file system gave as undecodable bytes cannot be stored as text.
    texts = (text.encode(errors="replace").decode() for text in (Path(program).name, *arguments))
    return redact(texts)


def _main_script() -> Path | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not file or "ipykernel" in sys.modules:
        return None
    script = Path(file).resolve()
    return script if script.is_file() else None


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _repository(script: Path) -> Path | None:
    return next((folder for folder in script.parents if (folder / ".git").exists()), None)


def _git_version_beside(root: Path) -> tuple[str, str | None] | None:
    """The same as `_git_version`; while git looks, the models are built."""
    found: list[tuple[str, str | None] | None] = []
    # Not an executor, for which several modules would have to be imported.
    beside = threading.Thread(target=lambda: found.append(_git_version(root)), name="padre-git")
    try:
        beside.start()
    except RuntimeError:  # the interpreter is ending, and starts no thread
        return _git_version(root)
    _build_models()
    beside.join()
    return found[0] if found else None  # what was wrong there, the thread has told on standard error


def _build_models() -> None:
    """Makes the classes ready of which the first run of a process makes objects."""
    for model in (Project, Experiment, Code, Execution, Environment, Run):
        model.model_rebuild()


def _git_version(root: Path) -> tuple[str, str | None] | None:
    """The commit and the digest of what differs from it; None where git does not answer."""
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()
        # The plumbing compares what stat says, so that no filter of the repository runs; contents are compared here.
        changed = _git(root, "diff-index", "--raw", "-z", "--no-renames", "--ignore-submodules=dirty", commit, "--")
        untracked = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--exclude=padre-store/")
    except (OSError, subprocess.SubprocessError):
        return None
    names = {*_changed_files(root, changed.split(b"\0")), *_untracked_sources(untracked.split(b"\0"))}
    return commit, _changes_digest(root, sorted(names)) if names else None


def _git(root: Path, *arguments: str) -> bytes:
    settings = ["core.fsmonitor=false", "core.untrackedCache=false", "core.hooksPath=/dev/null", "protocol.allow=never"]
    options = [option for setting in settings for option in ("-c", setting)]
    environment = {
        **{name: os.environ[name] for name in ("HOME", "PATH", "XDG_CONFIG_HOME") if name in os.environ},
        "GIT_CEILING_DIRECTORIES": str(root.parent),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    command = ["git", "--no-pager", *options, *arguments]
    result = subprocess.run(
        command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=GIT_TIMEOUT,
    )
    return result.stdout


def _changed_files(root: Path, fields: list[bytes]) -> Iterator[bytes]:
    """The tracked files that differ, from `:<modes> <object> <object> <status>` and name in turn."""
    for head, name in zip(fields[::2], fields[1::2], strict=False):
        old_mode, _, old_object, _, status = head.lstrip(b":").split(b" ")
        if status != b"M" or _blob_id(root, name, old_mode, len(old_object)) != old_object.decode():
            yield name


def _blob_id(root: Path, name: bytes, mode: bytes, digits: int) -> str | None:
    """The name that git would give the file's bytes as they are; None if it is no longer the file it was."""
    file = Path(os.fsdecode(os.path.join(os.fsencode(root), name)))
    try:
        status = file.lstat()
        if stat.S_ISLNK(status.st_mode) or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_CHANGED:
            return None
        if bool(status.st_mode & stat.S_IXUSR) != (mode == b"100755"):
            return None
        data = file.read_bytes()
    except OSError:
        return None
    blob = b"blob %d\0" % len(data) + data
    return hashlib.new("sha1" if digits == 40 else "sha256", blob, usedforsecurity=False).hexdigest()


def _untracked_sources(names: list[bytes]) -> Iterator[bytes]:
    stores = tuple(name.removesuffix(b"padre.json") for name in names if name.endswith(b"/padre.json"))
    for name in names:
        if os.fsdecode(name).lower().endswith(SOURCES) and not name.startswith(stores):
            yield name


def _changes_digest(root: Path, names: list[bytes]) -> str:
    """sha-256 over name, type, size and content of each file; regular files are read, links are not followed."""
    digest = hashlib.sha256()
    budget = MAX_CHANGED
    for name in names:
        path = os.path.join(os.fsencode(root), name)
        try:
            status = os.lstat(path)
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode) and status.st_size <= budget:
                content = Path(os.fsdecode(path)).read_bytes()
                budget -= len(content)
            head = b"%o %d" % (status.st_mode & (0o170100), status.st_size)
        except OSError:
            head, content = b"gone", b""
        digest.update(b"%d:%b\0%b\0%d:" % (len(name), name, head, len(content)))
        digest.update(content)
    return digest.hexdigest()

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
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from padre_core.objects.code import Code, CodeType
from padre_core.objects.execution import Execution
from padre_core.objects.experiment import Experiment
from padre_core.objects.project import Project
from padre_core.objects.run import Environment, Run
from padre_core.pausing import collector_paused

_REDACTED = "***"
_WORD = (
    r"(?:pass(?:word|wd|phrase|code)|(?<![a-z])pass(?![a-z])|pwd(?![a-z])|secret|token(?![a-z])|credential|bearer|"
    r"(?<![a-z])auth(?![a-z])|authorization|(?:api|access|account|private|signing)[-_.]?key)"
)
# Each stands in all that one part of `_WORD` finds; it is looked for at once, and takes no compiling.
_HINTS = ("pass", "pwd", "secret", "token", "credent", "bearer", "auth", "key")
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
        secret_follows = _suspicious(argument) and re.fullmatch(_OPTION, argument) is not None
        redacted.append(_redact(argument))
    return tuple(redacted)


def _suspicious(text: str) -> bool:
    """Whether anything that `_WORD` means can be in a text."""
    text = text.casefold()
    return any(hint in text for hint in _HINTS)


def _redact(text: str) -> str:
    if _suspicious(text):
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
    """The same as `worktree.version_of`; while git looks, the models are built."""
    from padre_core import worktree  # few scripts lie in no repository, but these need not wait for `subprocess`

    found: list[tuple[str, str | None] | None] = []
    # Not an executor, for which several modules would have to be imported.
    beside = threading.Thread(target=lambda: found.append(worktree.version_of(root)), name="padre-git")
    try:
        beside.start()
    except RuntimeError:  # the interpreter is ending, and starts no thread
        return worktree.version_of(root)
    _build_models()
    beside.join()
    return found[0] if found else None  # what was wrong there, the thread has told on standard error


def _build_models() -> None:
    """Makes the classes ready of which the first run of a process makes objects."""
    for model in (Project, Experiment, Code, Execution, Environment, Run):
        model.model_rebuild()

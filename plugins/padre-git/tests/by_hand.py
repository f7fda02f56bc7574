"""What somebody does with `git` by hand, who told it a name and an address."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


def output(folder: Path, *words: object, data: bytes | None = None, env: Mapping[str, str] | None = None) -> bytes:
    """What a git command prints, which must work."""
    command = ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org", *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=env, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def git(folder: Path, *words: object, data: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
    """The same as text, without the line feed at its end."""
    return output(folder, *words, data=data, env=env).decode(errors="replace").strip()


def bare(path: Path) -> Path:
    """A new bare repository that takes pushes over HTTP."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare")
    git(path, "config", "http.receivepack", "true")
    return path


def fsck(repository: Path) -> None:
    """Checks a whole repository."""
    assert "error" not in git(repository, "fsck", "--strict", "--full")

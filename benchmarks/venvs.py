"""An environment for each tracker, made once and kept."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "benchmarks" / "requirements"
Command = Sequence[str | os.PathLike[str]]
DISTRIBUTIONS = (ROOT, *(ROOT / "plugins" / name for name in ("padre-file", "padre-http", "padre-server")))
LOCAL = ("padre_core", "padre_file")
SERVED = "padre-server"


class Venvs:
    """The environments in a folder.

    Args:
        folder: Where they are kept between runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def python(self, name: str) -> Path:
        """The interpreter of an environment."""
        return self.folder / name / "bin" / "python"

    def make(self, name: str) -> None:
        """Make an environment from `requirements/<name>.txt`, unless it is there and as it must be.

        The environments of PaDRe also get wheels built from this tree, and are made again when the tree has changed.
        """
        requirements = REQUIREMENTS / f"{name}.txt"
        ours = name.startswith("padre")
        state = digest([requirements, *(sources() if ours else ())])
        stamp = self.folder / name / ".state"
        if stamp.exists() and stamp.read_text() == state:
            return
        print(f"making the environment {name}", file=sys.stderr, flush=True)
        if not self.python(name).exists():
            venv.create(self.folder / name, with_pip=True)
        pip: Command = [self.python(name), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        run([*pip, "install", "--requirement", requirements])
        if ours:
            wheels = self.folder / name / "wheels" / state[:16]
            run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, *DISTRIBUTIONS])
            built = [file for file in wheels.glob("*.whl") if name == SERVED or file.name.startswith(LOCAL)]
            run([*pip, "install", *built])
            # The version may be the same as before, the code is not.
            run([*pip, "install", "--no-deps", "--force-reinstall", *built])
        stamp.write_text(state)

    def version(self, name: str, distribution: str) -> str:
        """The version of a distribution in an environment."""
        code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
        return subprocess.check_output([self.python(name), "-c", code], text=True).strip()


def sources() -> list[Path]:
    """The files that make PaDRe's wheels."""
    folders = (ROOT / "padre_core", ROOT / "plugins")
    files = [path for folder in folders for path in folder.rglob("*.py") if "tests" not in path.parts]
    return [*(path / "pyproject.toml" for path in DISTRIBUTIONS), *files]


def digest(paths: Iterable[Path]) -> str:
    """Of names and bytes of files."""
    total = sha256()
    for path in sorted(paths):
        total.update(str(path).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def run(command: Command) -> None:
    """Run a command; what it prints is shown only when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")

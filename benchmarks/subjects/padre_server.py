"""PaDRe behind its server."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import padre_core as padre
from benchmarks.serving import free_port, serving
from benchmarks.subjects.padre import Padre

_TOKEN = re.compile(r"padre_[\w-]{40,}")


class ServedPadre(Padre):
    """`padre serve` with its defaults, on a folder; the client is any workspace."""

    late_imports = (*Padre.late_imports, "padre_http.backend")
    port = 0
    token = ""

    @contextmanager
    def serving(self) -> Iterator[None]:
        self.port = free_port()
        log, kept = self.folder.parent / "server.txt", self.folder.parent / "token"
        command = [
            str(Path(sys.executable).parent / "padre"), "serve", "--store", self.folder.as_uri(),
            "--port", str(self.port), "--state", str(self.folder.parent / "state"),
        ]  # fmt: skip
        with serving(command, f"http://127.0.0.1:{self.port}/readyz", log) as self.server:
            if not kept.exists():  # the token is printed once, by the first start
                kept.write_text(_TOKEN.findall(log.read_text())[0])
            self.token = kept.read_text()
            yield

    def open(self) -> None:
        self.workspace = padre.open(f"padre+http://127.0.0.1:{self.port}", token=self.token)
        self.experiment = "benchmark/trackers"

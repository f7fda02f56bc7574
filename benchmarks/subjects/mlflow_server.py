"""MLflow behind its server, with the store that it recommends."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.serving import free_port, serving
from benchmarks.subjects.mlflow import MlflowFile


class ServedMlflow(MlflowFile):
    """One worker on SQLite; the client speaks to it by MLflow's REST API, artifacts included."""

    port = 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        self.port = free_port()
        self.folder.mkdir(exist_ok=True)
        command = [
            str(Path(sys.executable).parent / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}",
            "--artifacts-destination", str(self.folder / "files"),
        ]  # fmt: skip
        with serving(command, f"{self.uri}/health", self.folder.parent / "server.txt") as self.server:
            yield

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def files(self) -> None:
        return None

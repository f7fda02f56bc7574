"""Artifacts to S3, by padre-cloud and by mlflow's artifact repository, side by side on one emulator.

    python -m benchmarks.cloud --files 1000 --large-mb 1024

Needs `padre-cloud[s3]` and ministack beside this Python; mlflow gets an environment of its own. Each repeat is a
process that uploads to a fresh place; imports and opening are not counted.
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.venvs import Venvs

PADRE = """
import json, resource, sys, time
import padre_core as padre, padre_cloud.drivers.s3
url, small, large = sys.argv[1:]
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with padre.open(f"s3://{url}") as ws, ws.start_run() as run:
    rest, begun = peak(), time.perf_counter()
    run.log_artifacts(small) if small else run.log_artifact(large)
    print(json.dumps([time.perf_counter() - begun, time.process_time(), peak() - rest]))
"""
MLFLOW = """
import json, resource, sys, time
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
url, small, large = sys.argv[1:]
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
repository = S3ArtifactRepository(f"s3://{url}")
repository.list_artifacts()
rest, begun = peak(), time.perf_counter()
repository.log_artifacts(small) if small else repository.log_artifact(large)
print(json.dumps([time.perf_counter() - begun, time.process_time(), peak() - rest]))
"""


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="how many artifacts of 4 KB")
    parser.add_argument("--large-mb", type=int, default=1024, help="size of the large one in MiB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(".benchmarks"), help="where environments are kept")
    asked = parser.parse_args()
    venvs = Venvs(asked.cache.absolute() / "venvs")
    venvs.make("mlflow-s3")
    sides = {"padre": (Path(sys.executable), PADRE), "mlflow": (venvs.python("mlflow-s3"), MLFLOW)}
    with tempfile.TemporaryDirectory() as place, emulator(Path(place)) as env:
        small, large = make_files(Path(place), asked.files, asked.large_mb)
        for what, arguments in ((f"{asked.files} of 4 KB", (small, "")), (f"1 of {asked.large_mb} MiB", ("", large))):
            found: dict[str, list[list[float]]] = {name: [] for name in sides}
            for repeat in range(asked.repeats):
                for name, (python, code) in sides.items():
                    url = f"bench/{name}-{len(what)}-{repeat}"
                    command = [str(python), "-c", code, url, *map(str, arguments)]
                    said = subprocess.check_output(command, env=env, text=True, cwd=place)
                    found[name].append(json.loads(said.splitlines()[-1]))
            tell(what, found)


def tell(what: str, found: dict[str, list[list[float]]]) -> None:
    """Prints medians, and the ratio of the times."""
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    for name, (seconds, cpu, memory) in medians.items():
        print(f"{what:16} {name:8} {seconds:8.2f} s  {cpu:8.2f} s cpu  {memory:8.0f} MiB above rest", flush=True)
    print(f"{what:16} mlflow / padre: {medians['mlflow'][0] / medians['padre'][0]:.2f}", flush=True)


def make_files(folder: Path, count: int, large_mb: int) -> tuple[Path, Path]:
    """A folder of small files, and a large file; no two are the same."""
    small, large = folder / "small", folder / "large.bin"
    small.mkdir()
    for number in range(count):
        (small / f"{number:05}.bin").write_bytes(os.urandom(4096))
    with large.open("wb") as file:
        for _ in range(large_mb):
            file.write(os.urandom(1024 * 1024))
    return small, large


@contextlib.contextmanager
def emulator(folder: Path) -> Iterator[dict[str, str]]:
    """An S3 server on loopback, and the environment in which it is found."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    env = os.environ | {
        "GATEWAY_PORT": str(port), "AWS_ENDPOINT_URL": endpoint, "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "PADRE_CACHE": str(folder / "cache"), "PADRE_STATE": str(folder / "state"),
    }  # fmt: skip
    command = shutil.which("ministack", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "ministack"
    with (folder / "log").open("wb") as log, subprocess.Popen([command], env=env, stdout=log, stderr=log) as server:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=9)
                    connection.request("PUT", "/bench")
                    connection.getresponse().read()
                    break
                time.sleep(0.1)
            yield env
        finally:
            server.terminate()


if __name__ == "__main__":
    main()

"""The loopback itself: the same files through a socket, written and synced on the other side."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

HEAD = struct.Struct(">HQ")
BLOCK = 1 << 20

if __name__ != "__main__":
    from benchmarks.subjects.limit import SyncedLimit

    class Copy(SyncedLimit):
        """Sends all files of a folder to another process, and fetches them from there."""

        _connection: socket.socket

        @contextmanager
        def serving(self) -> Iterator[None]:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                there = self.folder.parent / "there"
                server = subprocess.Popen(
                    [sys.executable, "-P", __file__, str(listener.fileno()), str(there)], pass_fds=[listener.fileno()]
                )
                with socket.create_connection(listener.getsockname()) as self._connection:
                    yield
            server.wait()

        def push(self) -> None:
            send(self.folder, self._connection)
            self._connection.recv(1)

        def fetch(self, target: Path) -> None:
            self._connection.sendall(b"!")
            with self._connection.makefile("rb") as incoming:
                receive(incoming, target)


def send(folder: Path, connection: socket.socket) -> None:
    """All files below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(folder)).encode()
            with path.open("rb") as file:
                connection.sendall(HEAD.pack(len(name), path.stat().st_size) + name)
                connection.sendfile(file)
    connection.sendall(HEAD.pack(0, 0))


def receive(incoming: BinaryIO, folder: Path) -> None:
    """Writes and syncs what was sent."""
    while True:
        length, size = HEAD.unpack(incoming.read(HEAD.size))
        if not length:
            return
        path = folder / incoming.read(length).decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb", buffering=0) as file:
            while size:
                size -= file.write(incoming.read(min(size, BLOCK)))
            os.fdatasync(file.fileno())


def serve(listener: int, folder: Path) -> None:
    """Takes all files from the first caller, and sends them back."""
    connection, _ = socket.socket(fileno=listener).accept()
    with connection, connection.makefile("rb") as incoming:
        receive(incoming, folder)
        connection.sendall(b"!")
        incoming.read(1)
        send(folder, connection)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))

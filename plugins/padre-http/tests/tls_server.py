"""A server that answers every request with what `/v1/info` says, over TLS, with a certificate made for the test."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from padre_http.wire.info import ServerInfo, encode_model


def made_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of a host, and its key."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    names = ["-addext", f"subjectAltName=DNS:{name}", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run([*command, *names], cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


@contextlib.contextmanager
def serving(certificate: tuple[Path, Path]) -> Iterator[int]:
    """The port of such a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    secured = functools.partial(context.wrap_socket, server_side=True)
    body = encode_model(ServerInfo(version="1"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                # A client that trusts nobody ends the connection, and the next one is served all the same.
                with contextlib.suppress(OSError), connection, secured(connection) as secure:
                    while secure.recv(65_536):
                        secure.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]

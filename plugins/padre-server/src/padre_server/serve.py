"""Running the server: the socket, the processes, TLS, and a graceful end."""

from __future__ import annotations

import functools
import gc
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

import padre_core
from padre_core import BackendError, InvalidObjectError, UnsupportedError
from padre_core.hosts import is_loopback
from padre_server.app import make_app
from padre_server.database import Database
from padre_server.logs import configuration
from padre_server.protocol import Protocol
from padre_server.settings import Settings
from padre_server.tokens import Tokens

BACKLOG = 1024
KEEP_ALIVE_SECONDS = 75
GRACE_SECONDS = 30
WATCH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how the server is reached.

    Attributes:
        plain: Serve without TLS beyond this machine, as behind a proxy that has it.
        proxied: Believe a proxy on this machine who the client is.
    """

    host: str = "127.0.0.1"
    port: int = 8421
    workers: int = 1
    certificate: str | None = None
    key: str | None = None
    plain: bool = False
    proxied: bool = False
    access_log: bool = False

    def check(self) -> None:
        """Checks that no token would travel in the clear.

        Raises:
            InvalidObjectError: It would; or what TLS needs is missing, or cannot be read.
        """
        if (self.certificate is None) != (self.key is None):
            raise InvalidObjectError("TLS needs both --tls-cert and --tls-key")
        if self.certificate is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                    self.certificate, self.key, password=_no_password
                )
            except OSError as error:  # what is wrong with the contents, too
                raise InvalidObjectError(
                    f"{self.certificate} and {self.key} cannot be used for TLS: {error.strerror or error}"
                ) from error
        if self.certificate is None and not self.plain and not is_loopback(self.host):
            raise InvalidObjectError(
                f"{self.host} is reached from other machines, and tokens would travel in the clear: give --tls-cert "
                "and --tls-key, or --plain-http if a proxy in front of it has TLS"
            )


def run(settings: Settings, listening: Listening, tell: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; what is under way is finished first.

    Args:
        tell: Called with the address, and at the first start with the one line that holds the first token.

    Raises:
        InvalidObjectError: The address would put tokens at risk.
        BackendError: The address is taken.
    """
    listening.check()
    _check_store(settings, listening.workers)
    bound = _bind(listening)  # before the first token is made, which is told once
    database = Database(Path(settings.state) / "server.db")
    first = Tokens(database).first()
    database.close()
    several = listening.workers > 1
    config = uvicorn.Config(
        functools.partial(_application, settings, os.getpid() if several else None),
        factory=True,
        http=functools.partial(Protocol, limits=settings.limits),  # type: ignore[arg-type]  # it only calls it
        ws="none",
        lifespan="on",
        log_config=configuration(access=listening.access_log),
        access_log=False,
        workers=listening.workers,
        ssl_certfile=listening.certificate,
        ssl_keyfile=listening.key,
        proxy_headers=listening.proxied,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    if not several:  # from the first line on that says we are here, whoever stops us is heard
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises again what it has obeyed
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    scheme = "https" if listening.certificate else "http"
    name = f"[{listening.host}]" if ":" in listening.host else listening.host
    tell(f"listening on {scheme}://{name}:{bound.getsockname()[1]}")
    if first is not None:
        tell(f"token {first}")
    if several:
        Multiprocess(config, sockets=[bound]).run()
        return
    server.run(sockets=[bound])
    if not server.started:
        raise BackendError("the server could not start; the log above says why")


def _no_password() -> str:
    """A server that starts by itself has nobody to ask."""
    raise OSError("the key has a password: write one without, which only the server may read")


def _application(settings: Settings, supervisor: int | None) -> ASGIApp:
    """The application of this process, which ends with the one that started it."""
    if supervisor is not None:
        threading.Thread(target=_watch, args=(supervisor,), name="padre-watch", daemon=True).start()
    application = make_app(settings)
    gc.collect()
    gc.freeze()  # modules stay: a request must not wait while Python looks through them for garbage
    return application


def _watch(supervisor: int) -> None:
    while os.getppid() == supervisor:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _check_store(settings: Settings, workers: int) -> None:
    """Opens the store once, so that what is wrong with it is said before anybody waits for an answer."""
    with padre_core.open(settings.store, readonly=settings.readonly, **settings.options) as workspace:  # type: ignore[arg-type]  # the plugin checks its options
        if workers > 1 and not workspace.backend.capabilities.multi_process:
            raise UnsupportedError(f"{workspace.url} is for one process: serve it with --workers 1")


def _bind(listening: Listening) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listening.host, listening.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
        bound.set_inheritable(True)
    except OSError as error:
        raise BackendError(f"cannot listen on {listening.host}:{listening.port}: {error.strerror}") from error
    return bound

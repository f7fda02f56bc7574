"""A process in which any number of servers run, each on a port and with a store of its own.

Each line of its input is either the URL of a store and a state folder (and `old` for a server of before), which is
answered with the address and an administrator's token of a new server, or the address of a server that is to end.
"""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

import uvicorn

from padre_server.app import make_app
from padre_server.call import Answer, Call
from padre_server.database import Database
from padre_server.protocol import Protocol
from padre_server.route import Route
from padre_server.routes import TABLE
from padre_server.settings import Settings
from padre_server.tokens import Tokens


class Threaded(uvicorn.Server):
    """A server beside others."""

    def install_signal_handlers(self) -> None:
        """The process ends without asking the servers."""


servers: dict[str, Threaded] = {}


NEWER = {"/v1/streams", "/v1/streams/read", "/v1/streams/ends", "/v1/blobs/get"}


def old_routes() -> list[Route]:
    """What a server answered before it took the streams and blobs of many objects in one request."""

    def info(call: Call) -> Answer:
        (route,) = [route for route in TABLE if route.path == "/v1/info"]
        answer = route.handler(call)
        assert isinstance(answer, Answer)
        assert isinstance(answer.body, bytes)
        told = json.loads(answer.body)
        del told["features"]
        return replace(answer, body=json.dumps(told).encode())

    kept = [route for route in TABLE if route.path not in NEWER and (route.method, route.path) != ("POST", "/v1/blobs")]
    return [replace(route, handler=info) if route.path == "/v1/info" else route for route in kept]


def start(store: str, state: str, age: str = "new") -> dict[str, str]:
    Path(state).mkdir(parents=True, exist_ok=True)
    database = Database(Path(state) / "server.db")
    token = Tokens(database).first()
    database.close()
    bound = socket.socket(proto=socket.IPPROTO_TCP)  # by which asyncio knows that it may switch off delays
    bound.bind(("127.0.0.1", 0))
    bound.listen(128)
    settings = Settings(store, state)
    protocol = functools.partial(Protocol, limits=settings.limits)
    config = uvicorn.Config(
        make_app(settings, old_routes() if age == "old" else TABLE),
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
    )
    server = Threaded(config)
    threading.Thread(target=asyncio.run, args=(server.serve([bound]),), daemon=True).start()
    url = f"padre+http://127.0.0.1:{bound.getsockname()[1]}"
    servers[url] = server
    return {"url": url, "token": str(token)}


def stop(url: str) -> None:
    servers.pop(url).should_exit = True


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        sys.stdout.write(json.dumps(start(*task) if isinstance(task, list) else stop(task)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

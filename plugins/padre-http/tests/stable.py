"""A process in which any number of servers run, each on a port and with a store of its own.

Reads the URL of a store and a state folder from each line of its input, and answers the address and an administrator's
token of a new server.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from padre_server.app import make_app
from padre_server.database import Database
from padre_server.protocol import Protocol
from padre_server.settings import Settings
from padre_server.tokens import Tokens


class Threaded(uvicorn.Server):
    """A server beside others."""

    def install_signal_handlers(self) -> None:
        """The process ends without asking the servers."""


def start(store: str, state: str) -> dict[str, str]:
    Path(state).mkdir(parents=True, exist_ok=True)
    database = Database(Path(state) / "server.db")
    token = Tokens(database).first()
    database.close()
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    bound.listen(128)
    config = uvicorn.Config(make_app(Settings(store, state)), http=Protocol, ws="none", lifespan="on", log_config=None)
    server = Threaded(config)
    threading.Thread(target=asyncio.run, args=(server.serve([bound]),), daemon=True).start()
    return {"url": f"padre+http://127.0.0.1:{bound.getsockname()[1]}", "token": str(token)}


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(start(*json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""``python -m tests.faults --port 0``: serve until the process is ended; the first line printed is the port."""

from __future__ import annotations

import argparse

import trio

from tests.faults.routes import ROUTES
from tests.faults.server import Server


async def main(host: str, port: int) -> None:
    server = Server(ROUTES)
    async with trio.open_nursery() as nursery:
        listening = await nursery.start(server.serve, host, port)
        print(listening, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    trio.run(main, arguments.host, arguments.port)

"""What the server saw: ``GET /_stats``, and ``GET /_wait?model=…&cancelled=1``, which answers once it is so.

Anything after ``@`` in a model's name is a tag without a meaning: it lets a test count its own requests alone.
"""

from __future__ import annotations

import json

from tests.faults.server import Exchange, Routes


async def show(exchange: Exchange) -> None:
    await exchange.respond(200, json.dumps(exchange.stats.as_dict()).encode())


async def wait(exchange: Exchange) -> None:
    """Wait until every count given in the query is reached for ``model`` (all models without it).

    ``open_most`` connections may be open then, the asking one included.
    """
    query = dict(exchange.request.query)
    model = query.pop("model", None)
    open_most = int(query.pop("open_most", "1000000"))
    wanted = {name: int(value) for name, value in query.items()}
    while True:
        counts = exchange.stats.counts(model)
        if exchange.stats.open <= open_most and all(counts.get(name, 0) >= least for name, least in wanted.items()):
            break
        await exchange.stats.changed()
    await exchange.respond(200, json.dumps(counts).encode())


ROUTES: Routes = {("GET", "/_stats"): show, ("GET", "/_wait"): wait}

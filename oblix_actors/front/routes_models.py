"""``GET /v1/models`` and ``GET /v1/models/{id}``: what there is to ask, from the workers' published states.

Format: https://platform.openai.com/docs/api-reference/models.
"""

from __future__ import annotations

import time

from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from oblix_actors.errors import OblixError
from oblix_actors.front.errors import json_response
from oblix_actors.front.house import House
from oblix_actors.front.limits import check_key
from oblix_actors.front.request import current
from oblix_actors.wire.openai import encode_model, encode_models


def install(app: QuartTrio, house: House) -> None:
    """Add the routes to ``app``."""
    created = int(time.time())  # of every entry: local servers do not tell, and clients want the same each time

    async def models() -> TrioResponse:
        check_key(current(), house.keys)
        return json_response(encode_models(house.providers(), created))

    async def model(name: str) -> TrioResponse:
        check_key(current(), house.keys)
        entry = encode_model(house.providers(), name, created)
        if entry is None:
            shown = name if len(name) <= 200 else name[:200] + "…"
            raise OblixError(
                "model_not_found", f"There is no model {shown!r}; GET /v1/models lists what there is.", param="model"
            )
        return json_response(entry)

    app.add_url_rule("/v1/models", view_func=models, methods=["GET"])
    # Names have colons and slashes: ollama:hf.co/org/model:tag.
    app.add_url_rule("/v1/models/<path:name>", view_func=model, methods=["GET"])

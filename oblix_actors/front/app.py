"""The QuartTrio application: puts the routes together, and sets what Quart's defaults get wrong for us.

It has no lifecycle hooks and starts no task: whatever runs beside a request belongs to the supervised tree.
"""

from __future__ import annotations

from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.routing import MapAdapter

from oblix_actors.front import errors, health, routes_chat, routes_decisions, routes_models
from oblix_actors.front.exchange import FrontConnection
from oblix_actors.front.house import House
from oblix_actors.front.request import FrontRequest


class Front(QuartTrio):
    """Quart with our exchange, and with routes that do not depend on the ``Host`` header."""

    asgi_http_class = FrontConnection
    request_class = FrontRequest

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Match by method and path alone: reading a malformed ``Host`` would raise where no handler can answer."""
        if request is None:
            return None
        return self.url_map.bind("localhost", path_info=request.path, default_method=getattr(request, "method", "GET"))


def create_app(house: House) -> QuartTrio:
    """The application in front of ``house``."""
    app = Front("oblix_actors", static_folder=None, template_folder=None)
    app.config.update(
        DEBUG=False,  # whatever QUART_DEBUG says: a traceback is nothing for a client
        PROPAGATE_EXCEPTIONS=False,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        MAX_CONTENT_LENGTH=house.settings.max_body_bytes,
        BODY_TIMEOUT=None,  # limits.read_body has the deadline
        RESPONSE_TIMEOUT=None,  # it would cut answers short without a word
    )
    app.url_map.strict_slashes = False  # no redirects: they are HTML, and clients do not follow them with a body
    app.url_map.merge_slashes = False
    errors.install(app)
    routes_chat.install(app, house)
    routes_models.install(app, house)
    routes_decisions.install(app, house)
    health.install(app, house)
    return app

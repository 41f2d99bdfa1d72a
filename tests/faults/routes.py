"""Which handler serves which path. A new dialect adds its ``ROUTES`` here."""

from __future__ import annotations

from tests.faults import anthropic, ollama, openai, stats
from tests.faults.server import Routes

ROUTES: Routes = {**stats.ROUTES, **openai.ROUTES, **ollama.ROUTES, **anthropic.ROUTES}

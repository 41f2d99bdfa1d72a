"""Oblix Actors: one local, OpenAI-compatible server that answers from the best model reachable right now."""

__version__ = "0.1.0"

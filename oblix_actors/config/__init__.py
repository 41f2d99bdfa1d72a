"""The configuration: TOML and the environment in, frozen :class:`~oblix_actors.settings.Settings` out.

Every problem of a file is found in one go, each a line that names the file, the key's path, the reason
and what to write instead. Reads files and the environment it is given; changes nothing.
"""

from __future__ import annotations

from oblix_actors.config.address import locality_of
from oblix_actors.config.discovery import discovers, effective_providers, well_known
from oblix_actors.config.keys import bound_keys, client_keys, provider_key
from oblix_actors.config.load import find, load, parse
from oblix_actors.config.values import warnings

__all__ = [
    "bound_keys",
    "client_keys",
    "discovers",
    "effective_providers",
    "find",
    "load",
    "locality_of",
    "parse",
    "provider_key",
    "warnings",
    "well_known",
]

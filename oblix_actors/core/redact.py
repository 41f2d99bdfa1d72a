"""Finds what looks like a key in a text, and blots it out. Pure.

The last line of defence for logs and messages, behind :class:`oblix_actors.settings.Secret`: it knows the shapes that
vendors give their keys, and the names that a secret has in headers, URLs and dumps.
"""

from __future__ import annotations

import re
from typing import Final

BLOT: Final = "…"

SECRET_NAME: Final = re.compile(
    r"(?i)^(?:(?:x-)?api[-_]?keys?|x-goog-api-key|(?:proxy-)?authorization|(?:set-)?cookie|passw(?:or)?d|secret"
    r"|(?:access|auth|bearer|api|refresh)[-_]?token|token)$"
)
"""Names of fields, headers and parameters that hold a secret."""

_KEY: Final = re.compile(
    r"""(?x)
    \b sk [-_] [A-Za-z0-9_-]{6,}
    | \b (?:rk|pk|gsk|csk|xai|hf|r8|pplx|nvapi|fw|tgp|ghp|gho|github_pat|glpat|xox[abp]) [-_]
      (?=[A-Za-z_-]*\d) [A-Za-z0-9_-]{16,}
    | \b AIza [A-Za-z0-9_-]{30,}
    """
)
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)(\s+)(?=[A-Za-z._~+/-]*[\d=]|\S{20})[A-Za-z0-9._~+/=-]{6,}")
_NAMED: Final = re.compile(
    r"""(?xi)
    (?<![A-Za-z0-9_])
    ( (?:x-)?api[-_]?key | x-goog-api-key | (?:proxy-)?authorization | passw(?:or)?d | secret
      | (?:access|auth|bearer|api|refresh)[-_]token | token )
    ( ["'\\]* \s* [:=] \s* (?:b(?=["']))? ["'\\]* (?:(?:bearer|basic|token)\s+)?+ )
    (?!…) [^\s"'\\,;&)}\]]+
    """
)
_IN_URL: Final = re.compile(r"(://)[^/\s@\"']+@")


def redact(text: str) -> str:
    """``text`` with everything that looks like a key replaced by ``…``."""
    text = _KEY.sub(BLOT, text)
    text = _BEARER.sub(rf"\1\2{BLOT}", text)
    text = _NAMED.sub(rf"\1\2{BLOT}", text)
    return _IN_URL.sub(rf"\1{BLOT}@", text)


def looks_secret(text: str) -> bool:
    """Whether ``text`` holds something with the shape of a key."""
    return _KEY.search(text) is not None or _BEARER.search(text) is not None

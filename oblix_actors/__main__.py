"""``oblix``, and ``python -m oblix_actors``: the command line's entry.

A bare ``--version`` is answered before anything is imported.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that ``sys.argv`` says; exits with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from oblix_actors import __version__

        print(f"oblix {__version__}")  # noqa: T201 - the answer
        return
    from oblix_actors.cli.app import run

    run()


if __name__ == "__main__":
    main()

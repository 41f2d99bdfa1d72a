"""Small system files under a root that tests can replace, and the free space of a disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger("sensors")

MOST_BYTES: Final = 1 << 20
"""``/proc/stat`` of the largest machines is a fraction of that."""


class Files:
    """Reads files and lists folders below ``root``; what cannot be read is ``None`` or empty."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = str(root).rstrip("/")
        self._reported: set[str] = set()

    def read(self, path: str) -> str | None:
        """The text of the file at the absolute ``path``."""
        try:
            descriptor = os.open(self._root + path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # One read gives all of most of these files; a second one would have the kernel make them anew.
                data = os.read(descriptor, MOST_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._absent(path, error)
            return None
        return data.decode("utf-8", "replace")

    def names(self, path: str) -> list[str]:
        """The names in the folder at the absolute ``path``, sorted."""
        try:
            return sorted(os.listdir(self._root + path))
        except OSError as error:
            self._absent(path, error)
            return []

    def _absent(self, path: str, error: OSError) -> None:
        """Say once that a sensor is not there; processes come and go and are no sensors."""
        if path not in self._reported and not path.startswith("/proc/") and len(self._reported) < 1000:
            self._reported.add(path)
            log.debug("sensor absent", path=path, error=error.strerror)


def disk_free(folder: Path | None) -> int | None:
    """Bytes free for us on the disk that ``folder`` is on, or will be once it is made."""
    if folder is None:
        return None
    for place in (folder, *folder.parents):
        try:
            import shutil

            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None

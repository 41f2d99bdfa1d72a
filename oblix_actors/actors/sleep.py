"""How long this machine has slept: the clock that runs on in sleep against the one that stops."""

from __future__ import annotations

import sys
import time


def suspended_seconds() -> float:
    """Seconds asleep since some fixed moment: only its jumps mean something.

    Linux and macOS have both clocks (https://man7.org/linux/man-pages/man2/clock_gettime.2.html). Elsewhere the wall
    clock stands in, so that setting the clock looks like a sleep.
    """
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    elif sys.platform == "darwin":  # noqa: RET505 - mypy follows platforms only so
        return time.clock_gettime(time.CLOCK_MONOTONIC) - time.clock_gettime(time.CLOCK_UPTIME_RAW)
    else:
        return time.time() - time.monotonic()

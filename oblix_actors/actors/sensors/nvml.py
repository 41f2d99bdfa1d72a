"""NVIDIA's GPUs through NVML, where ``nvidia-ml-py`` and the driver are installed (extra ``gpu``).

https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
import structlog

from oblix_actors.core.resources import GpuSample

log = structlog.get_logger("sensors")

RETRY_SECONDS: Final = 300.0
"""A driver that was not there may be loaded later."""
THERMAL: Final = 0x20 | 0x40
"""``nvmlClocksEventReasonSwThermalSlowdown`` and ``nvmlClocksEventReasonHwThermalSlowdown``."""
TEMPERATURE_GPU: Final = 0

T = TypeVar("T")


def load_pynvml() -> Any:
    """NVIDIA's module, or ``None`` where it is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


class Nvml:
    """Reads all of NVIDIA's GPUs. ``module`` has the functions of ``pynvml``."""

    def __init__(self, load: Callable[[], Any] = load_pynvml, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._module: Any = None
        self._open = False
        self._not_before = 0.0
        self._seen_until: dict[int, int] = {}
        self._last: tuple[GpuSample, ...] = ()

    def read(self, pids: frozenset[int], *, asleep: bool = False) -> tuple[GpuSample, ...]:
        """Every GPU; none where there is no library, no driver or no GPU. What one does not tell is ``None``.

        While they are ``asleep`` they are not woken: they do nothing, and the rest is as it was.
        """
        if asleep and self._last:
            calm = msgspec.structs.replace
            return tuple(calm(gpu, use_percent=0.0, own_percent=None, temperature=None) for gpu in self._last)
        if not self._open and not self._start():
            return ()
        nvml = self._module
        count = self._ask(nvml.nvmlDeviceGetCount)
        if count is None:  # the driver is gone: it was updated, or the GPU fell off its bus
            self._stop()
            return ()
        self._last = tuple(gpu for index in range(count) if (gpu := self._gpu(index, pids)) is not None)
        return self._last

    def _start(self) -> bool:
        if self._clock() < self._not_before:
            return False
        self._not_before = self._clock() + RETRY_SECONDS
        if self._module is None:
            self._module = self._load()
        if self._module is None:
            return False
        try:
            self._module.nvmlInit()
        except self._module.NVMLError as error:
            log.debug("sensor absent", sensor="nvml", error=str(error))
            return False
        self._open = True
        return True

    def _stop(self) -> None:
        self._open = False
        self._last = ()
        self._not_before = self._clock() + RETRY_SECONDS
        self._ask(self._module.nvmlShutdown)

    def _gpu(self, index: int, pids: frozenset[int]) -> GpuSample | None:
        nvml, ask = self._module, self._ask
        handle = ask(lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        if handle is None:
            return None
        name = ask(lambda: nvml.nvmlDeviceGetName(handle))
        use = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        heat = ask(lambda: nvml.nvmlDeviceGetTemperature(handle, TEMPERATURE_GPU))
        slowed = ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        running = ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        ours = None if running is None else [process for process in running if process.pid in pids]
        return GpuSample(
            name=str(name or f"NVIDIA {index}"),
            vendor="nvidia",
            use_percent=None if use is None else float(use.gpu),
            own_percent=self._own_percent(index, handle, pids) if ours else None,
            memory_total=None if memory is None else int(memory.total),
            memory_free=None if memory is None else int(memory.free),
            own_memory=None if ours is None else sum(process.usedGpuMemory or 0 for process in ours),
            temperature=None if heat is None else float(heat),
            throttled=None if slowed is None else bool(slowed & THERMAL),
        )

    def _own_percent(self, index: int, handle: Any, pids: frozenset[int]) -> float | None:
        """Our processes' share, by the driver's samples since the last reading; ``None`` while it has none."""
        since = self._seen_until.get(index, 0)
        samples = self._ask(lambda: self._module.nvmlDeviceGetProcessUtilization(handle, since))
        if samples is None:
            return None
        self._seen_until[index] = max([since, *(sample.timeStamp for sample in samples)])
        latest = {sample.pid: float(sample.smUtil) for sample in samples if sample.pid in pids}
        return min(100.0, sum(latest.values())) if latest else None

    def _ask(self, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except self._module.NVMLError as error:
            log.debug("sensor absent", sensor="nvml", error=str(error))
            return None

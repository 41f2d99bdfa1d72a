"""The engine's process: loads one model and serves llama.cpp's own HTTP API on a loopback port until its parent goes.

Parameters come as one JSON line on standard input, the answer leaves as one on standard output. The end
of standard input is the end of the process: it comes when the parent closes the pipe, or dies in any way.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from oblix_actors.engine.models import RUNTIME, RUNTIME_MISSING
from oblix_actors.engine.protocol import MAX_LINE, Answer, EngineParams, Loaded, Refused

EXIT_REFUSED: Final = 3
OOM_SCORE: Final = "500"
"""Out of memory, the kernel takes this process before the gateway (proc(5), oom_score_adj)."""
PROMPT_CACHE_MIB: Final = 256
"""llama.cpp keeps the state of earlier prompts in memory: 8 GiB of it if it is let."""
SPINS: Final = "10000"
"""How long a thread of llama.cpp spins for the others before it sleeps (libgomp's GOMP_SPINCOUNT). The default is 30
times that, and where other programs want the cores too, the threads then wait for each other most of the time."""


def main() -> int:
    """Run the engine; returns the exit code."""
    _leave_signals_to_the_parent()
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    try:
        params = msgspec.json.decode(_first_line(), type=EngineParams)
    except msgspec.DecodeError as error:
        return _refuse(answers, f"the parameters cannot be read: {error}")
    _leave_with_the_parent()
    _step_back(params.niceness)
    try:
        server = _load(params)
    except ModuleNotFoundError as error:
        return _refuse(answers, RUNTIME_MISSING if error.name == RUNTIME else str(error))
    except ImportError as error:
        return _refuse(answers, f"xllamacpp cannot be loaded: {error}")
    except RuntimeError:
        return _refuse(answers, "")  # its text says only that it failed: the reason is in the log
    _say(answers, Loaded(server.listening_address))
    threading.Event().wait()
    return 0


def _load(params: EngineParams) -> Any:
    """llama.cpp's server, with the model loaded. Holds the interpreter's lock until then."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when the library is loaded, which is now
    import xllamacpp

    common = xllamacpp.CommonParams()
    common.model.path = params.model
    common.model_alias = {params.alias}
    common.n_ctx = params.context * params.slots  # llama.cpp divides it among the slots
    common.n_parallel = params.slots
    common.cpuparams.n_threads = params.threads
    common.cpuparams_batch.n_threads = params.threads
    common.cache_ram_mib = PROMPT_CACHE_MIB
    common.hostnames = ["127.0.0.1"]
    common.port = 0
    common.api_keys = [params.key]
    common.endpoint_metrics = True
    common.endpoint_slots = True
    common.ui = False
    return xllamacpp.Server(common)


def _first_line() -> bytes:
    """The line of parameters, and not a byte more: what comes behind it is the end."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MAX_LINE:
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return bytes(line)


def _leave_signals_to_the_parent() -> None:
    """Ctrl-C reaches every process of a terminal, and systemd's SIGTERM every one of a service. When we end is the
    gateway's choice: it has answers to finish first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _leave_with_the_parent() -> None:
    """End this process at the end of standard input.

    A thread waits for it. While the model loads, though, llama.cpp's binding keeps the interpreter's lock and no thread
    of ours runs, so on Linux the kernel is asked to do it (fcntl(2), F_SETOWN: a pipe's end comes as SIGIO, which
    ends a process). PR_SET_PDEATHSIG would not do: it tells the death of the parent's *thread* that started us.
    """
    if sys.platform == "linux":
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([0], [], [], 0)[0]:  # it came before we asked
            os._exit(0)

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)  # llama.cpp's own end may take a while, and nobody waits for it

    threading.Thread(target=wait, daemon=True).start()


def _step_back(niceness: int) -> None:
    with suppress(OSError, AttributeError):
        os.nice(niceness)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")


def _refuse(answers: int, reason: str) -> int:
    _say(answers, Refused(reason[:500]))
    return EXIT_REFUSED


def _say(answers: int, answer: Answer) -> None:
    os.write(answers, msgspec.json.encode(answer) + b"\n")


if __name__ == "__main__":
    sys.exit(main())

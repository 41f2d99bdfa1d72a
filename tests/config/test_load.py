"""Where the file is looked for, how it is read, and what becomes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oblix_actors import config
from oblix_actors.errors import ConfigError
from oblix_actors.settings import ProviderSettings, Settings

PORT = "[server]\nport = {}\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's config folder of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "home"))
    from platformdirs import user_config_path

    folder = user_config_path("oblix", appauthor=False)
    folder.mkdir(parents=True)
    return folder


def test_without_a_file_the_defaults_hold(home: Path, tmp_path: Path) -> None:
    assert config.find(None, {}, tmp_path) is None
    assert config.load(environ={}, cwd=tmp_path) == Settings()


def test_the_first_place_that_has_a_file_counts(home: Path, tmp_path: Path) -> None:
    places = [tmp_path / "named.toml", tmp_path / "variable.toml", tmp_path / "oblix.toml", home / "config.toml"]
    for number, place in enumerate(places, 1):
        place.write_text(PORT.format(number))
    environ = {"OBLIX_CONFIG": str(places[1])}
    for argument, variables, expected in [(str(places[0]), environ, 0), (None, environ, 1), (None, {}, 2)]:
        assert config.find(argument, variables, tmp_path) == places[expected]
        assert config.load(argument, environ=variables, cwd=tmp_path).server.port == expected + 1
    places[2].unlink()
    assert config.load(environ={}, cwd=tmp_path).server.port == 4


def test_an_empty_variable_is_none(home: Path, tmp_path: Path) -> None:
    assert config.find(None, {"OBLIX_CONFIG": " "}, tmp_path) is None


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.find("~/x.toml", {}, Path()) == tmp_path / "x.toml"


def test_the_file_is_remembered_and_relative_paths_begin_at_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        '[server]\napi_keys_file = "keys"\n[embedded]\nmodel = "m.gguf"\n[[providers]]\nname = "a"\nkind = "ollama"\n'
        'api_key_file = "/abs"\n'
    )
    settings = config.load(file)
    assert settings.source == str(file)
    assert settings.server.api_keys_file == str(tmp_path / "keys")
    assert settings.embedded.model == str(tmp_path / "m.gguf")
    assert settings.providers == (ProviderSettings(name="a", kind="ollama", api_key_file="/abs"),)


def test_a_byte_order_mark_and_crlf_are_read_over(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 3\r\n")
    assert config.load(file).server.port == 3


def test_a_file_of_comments_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("# nothing yet\n")
    assert config.load(file) == config.parse("", str(file))


def refused(path: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(None if environ else path, environ=environ)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: ")
    return problem


def test_a_missing_file(tmp_path: Path) -> None:
    assert "there is no such file" in refused(tmp_path / "no.toml")
    assert "(OBLIX_CONFIG names it)" in refused(tmp_path / "no.toml", OBLIX_CONFIG=str(tmp_path / "no.toml"))


def test_a_folder(tmp_path: Path) -> None:
    assert "this is a folder" in refused(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("\n \n")
    assert "the file is empty" in refused(file)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"[server]\nhost = '\xff'\n")
    assert "not UTF-8 at line 2" in refused(file)


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"#" * 300_000)
    assert "this is not a config file" in refused(file)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(PORT.format(1))
    file.chmod(0)
    assert "may not be read by this user" in refused(file)


def test_a_file_that_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "c.toml"
    file.write_text(PORT.format(1))
    monkeypatch.setattr(Path, "open", refuse)
    assert "may not be read by this user" in refused(file)


def test_a_path_that_is_none(tmp_path: Path) -> None:
    assert "cannot be read" in refused(Path("a\0b"))
    file = tmp_path / "c.toml"
    file.write_text("x")
    assert "cannot be read" in refused(file / "below")

"""Which providers there are in effect, and where they are taken to be."""

from __future__ import annotations

import pytest

from oblix_actors.config import effective_providers, locality_of, parse, well_known
from oblix_actors.config.address import is_ours, origin_of
from oblix_actors.config.discovery import DEFAULT_URLS, ollama_url
from oblix_actors.core.catalogue import Locality
from oblix_actors.errors import ConfigError
from oblix_actors.settings import ProviderSettings, RoutingSettings, ServerSettings, Settings


@pytest.mark.parametrize(
    ("url", "locality"),
    [
        ("http://127.0.0.1:11434", "local"),
        ("http://127.5.5.5/v1", "local"),
        ("http://[::1]:80/v1", "local"),
        ("http://localhost:1234/v1", "local"),
        ("http://LOCALHOST./v1", "local"),
        ("http://api.localhost/v1", "local"),
        ("http://0.0.0.0:8000/v1", "local"),
        ("http://192.168.1.20/v1", "lan"),
        ("http://10.0.0.1/v1", "lan"),
        ("http://172.16.0.1/v1", "lan"),
        ("http://169.254.1.1/v1", "lan"),
        ("http://100.64.0.1/v1", "lan"),
        ("http://[fe80::1]/v1", "lan"),
        ("http://[fe80::1%25eth0]/v1", "lan"),
        ("http://[fd00::1]/v1", "lan"),
        ("http://workstation:8000/v1", "lan"),
        ("http://box.local/v1", "lan"),
        ("http://box.fritz.lan./v1", "lan"),
        ("https://api.openai.com/v1", "cloud"),
        ("https://8.8.8.8/v1", "cloud"),
        ("https://[2606:4700::1]/v1", "cloud"),
        ("https://notlocal.example/v1", "cloud"),
        ("https://localhost.example.org/v1", "cloud"),
    ],
)
def test_locality(url: str, locality: Locality) -> None:
    assert locality_of(url) == locality


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("  ", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":9000", "http://127.0.0.1:9000"),
        ("workstation", "http://workstation:11434"),
        ("workstation:80", "http://workstation:80"),
        ("192.168.1.5", "http://192.168.1.5:11434"),
        ("http://workstation:9000", "http://workstation:9000"),
        ("http://workstation", "http://workstation:80"),
        ("https://ollama.example.org", "https://ollama.example.org:443"),
        ("https://example.org/ollama/", "https://example.org:443/ollama"),
        ('"workstation:80"', "http://workstation:80"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("::1", "http://[::1]:11434"),
        ("[::]:11434", "http://127.0.0.1:11434"),
        ("::", "http://127.0.0.1:11434"),
        ("host:99999", "http://127.0.0.1:11434"),
        ("ftp://host", "http://127.0.0.1:11434"),
        ("http://me:secret@host", "http://127.0.0.1:11434"),
        ("[::1", "http://127.0.0.1:11434"),
    ],
)
def test_ollama_host(host: str, url: str) -> None:
    assert ollama_url(host) == url


def names(providers: tuple[ProviderSettings, ...]) -> list[str]:
    return [provider.name for provider in providers]


KEYS = {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b"}
LOCAL = ["ollama", "lmstudio", "llamacpp", "vllm"]


def test_what_is_looked_for() -> None:
    assert names(well_known({})) == LOCAL
    assert all(provider.optional for provider in well_known({}))
    found = well_known(KEYS)
    assert names(found) == [*LOCAL, "openai", "claude"]
    openai, claude = found[-2:]
    assert (openai.kind, openai.base_url, openai.api_key_env) == (
        "openai", "https://api.openai.com/v1", "OPENAI_API_KEY",
    )  # fmt: skip
    assert (claude.kind, claude.base_url, claude.api_key_env) == (
        "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY",
    )  # fmt: skip
    assert openai.prefer
    assert claude.prefer
    assert not openai.optional


def test_an_empty_key_is_no_key() -> None:
    assert names(well_known({"OPENAI_API_KEY": " "})) == LOCAL


def test_base_urls_of_the_environment_are_honoured() -> None:
    environ = {**KEYS, "OPENAI_BASE_URL": "https://o.example/v1/", "ANTHROPIC_BASE_URL": "https://a.example"}
    assert [provider.base_url for provider in well_known(environ)[-2:]] == [
        "https://o.example/v1",
        "https://a.example/v1",
    ]


def test_a_base_url_that_is_none_is_told_without_its_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        well_known({**KEYS, "OPENAI_BASE_URL": "http://me:hunter2@h/v1"})
    assert caught.value.problems[0].startswith("OPENAI_BASE_URL: a credential is refused")
    assert "hunter2" not in str(caught.value)


def test_a_shell_whose_programs_all_come_to_us_does_not_make_us_ask_ourselves() -> None:
    environ = {**KEYS, "OPENAI_BASE_URL": "http://localhost:62549/v1", "ANTHROPIC_BASE_URL": "http://127.0.0.1:62549"}
    urls = [provider.base_url for provider in effective_providers(Settings(), environ)[-2:]]
    assert urls == ["https://api.openai.com/v1", "https://api.anthropic.com/v1"]
    at_8000 = Settings(server=ServerSettings(host="0.0.0.0", port=8000))
    assert "vllm" not in names(effective_providers(at_8000, {}))


def test_nothing_is_looked_for_where_providers_are_configured() -> None:
    settings = Settings(providers=(ProviderSettings(name="x", kind="ollama"),))
    assert names(effective_providers(settings, KEYS)) == ["x"]
    off = Settings(routing=RoutingSettings(discover=False))
    assert effective_providers(off, KEYS) == ()


def test_what_is_configured_is_not_found_a_second_time() -> None:
    settings = parse(
        """
        routing = { discover = true }
        [[providers]]
        name = "OpenAI"
        kind = "openai"
        base_url = "http://localhost:11434/v1"
        """,
        "f",
    )
    # By its name, and by its server: Ollama's port, whatever is spoken there.
    assert names(effective_providers(settings, KEYS)) == ["OpenAI", "lmstudio", "llamacpp", "vllm", "claude"]


def test_all_have_a_locality_an_address_and_a_name_of_their_own() -> None:
    settings = parse(
        """
        routing = { discover = true }
        [[providers]]
        name = "a"
        kind = "ollama"
        [[providers]]
        name = "b"
        kind = "openai"
        base_url = "http://192.168.0.3/v1/"
        [[providers]]
        name = "c"
        kind = "openai"
        base_url = "http://127.0.0.1:9/v1"
        locality = "cloud"
        [[providers]]
        name = "d"
        kind = "anthropic"
        [[providers]]
        name = "e"
        kind = "scripted"
        """,
        "f",
    )
    found = effective_providers(settings, KEYS)
    assert [(provider.name, provider.base_url, provider.locality) for provider in found[:5]] == [
        ("a", DEFAULT_URLS["ollama"], "local"),
        ("b", "http://192.168.0.3/v1", "lan"),
        ("c", "http://127.0.0.1:9/v1", "cloud"),
        ("d", DEFAULT_URLS["anthropic"], "cloud"),
        ("e", None, "local"),
    ]
    assert names(found[5:]) == ["lmstudio", "llamacpp", "vllm", "openai"]
    assert len(set(names(found))) == len(found)


def test_origins() -> None:
    assert origin_of("http://LocalHost:80/v1") == origin_of("http://127.0.0.1") == ("127.0.0.1", 80)
    assert origin_of("https://Example.org./v1") == ("example.org", 443)
    assert not is_ours("http://192.168.0.3:62549", ServerSettings())
    assert is_ours("http://192.168.0.3:62549", ServerSettings(host="192.168.0.3"))

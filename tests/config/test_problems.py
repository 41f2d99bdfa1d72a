"""Every way in which a file can be wrong: the problem names the key's path, the reason, and what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.config import parse
from oblix_actors.errors import ConfigError

PROVIDER = '[[providers]]\nname = "p"\nkind = "openai"\nbase_url = "http://h/v1"\n'


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.toml")
    assert all(problem.startswith("f.toml: ") for problem in caught.value.problems)
    return [problem.removeprefix("f.toml: ") for problem in caught.value.problems]


ONE_PROBLEM = [
    # Unknown keys and sections.
    ("[server]\nprot = 1", "server.prot: unknown key; did you mean port?"),
    ("[sever]\nport = 1", "sever: unknown section; did you mean [server]?"),
    ("port = 1", "port: unknown key; it belongs into [server]"),
    ("[routing]\nthreads = 1", "routing.threads: unknown key; it belongs into [embedded]"),
    ("[log]\nzzz = 1", "log.zzz: unknown key; there are format, level"),
    ("[logging]\nlevel = 'info'", "logging: unknown section; did you mean [log]?"),
    ("[[provider]]\nname = 'x'", "provider: unknown section; did you mean [[providers]]?"),
    (PROVIDER + "url = 'x'", "providers[0].url: unknown key; did you mean base_url?"),
    ("source = 'x'", "source: unknown key; there are"),
    # Shapes.
    ("server = 3", "server: a section is written as a table: [server]"),
    ("[providers]\nname = 'x'", "providers: each provider is a table of its own, with two brackets: [[providers]]"),
    ("providers = [1]", "providers[0]: each provider is a table"),
    # Types, units, ranges.
    ('[server]\nport = "80"', 'a whole number from 0 to 65535, not "80"; write 80, without quotes'),
    ("[server]\nport = 70000", "server.port: it must be a whole number from 0 to 65535, not 70000"),
    ("[server]\nport = 80.5", "server.port: it must be a whole number from 0 to 65535, not 80.5"),
    ("[server]\nport = true", "server.port: it must be a whole number from 0 to 65535, not true"),
    ('[server]\nbody_seconds = "2m"', 'server.body_seconds: it must be a number (seconds) above 0, not "2m"; write 12'),
    ("[server]\nbody_seconds = 0", "server.body_seconds: it must be a number (seconds) above 0, not 0"),
    ("[server]\nbody_seconds = nan", "server.body_seconds: it must be a number (seconds) above 0, not nan"),
    ("[server]\nbody_seconds = inf", "server.body_seconds: it must be a number (seconds) above 0, not inf"),
    ('[server]\nmax_body_bytes = "32 MiB"', "write 33554432, without quotes"),
    ('[server]\nmax_jobs = "many"', 'server.max_jobs: it must be a whole number, at least 1, not "many"'),
    ("[server]\nhost = 3", "server.host: it must be a text in quotes, not 3"),
    ('[embedded]\nenabled = "yes"', 'embedded.enabled: it must be true or false, not "yes"; write true, without q'),
    ("[embedded]\ncontext = 100", "embedded.context: it must be a whole number (tokens), at least 512, not 100"),
    ("[embedded]\nstart = 'now'", "embedded.start: it must be one of 'eager', 'on_demand', not \"now\""),
    ("[connectivity]\npacket_loss_threshold = 120", "it must be a number (percent) above 0, up to 100, not 120"),
    ('[connectivity]\nlatency_threshold = "0.2 s"', '(milliseconds) above 0, not "0.2 s"; write 200, without quotes'),
    ("[log]\nlevel = 2026-11-23", "log.level: it must be one of 'debug', 'error', 'info', 'warning', not a date or"),
    (PROVIDER + "models = 'a'", 'providers[0].models: it must be a list of texts, such as ["a", "b"], not "a"; put it'),
    (PROVIDER + "models = ['a', 3]", "providers[0].models: it must be a list of texts"),
    (PROVIDER + "headers = 3", "providers[0].headers: it must be a table of texts"),
    (PROVIDER + "headers = { a = 3 }", "providers[0].headers.a: it must be a text in quotes, not 3"),
    ("[[providers]]\nkind = 'ollama'", "providers[0].name: missing; it is a text in quotes"),
    ("[[providers]]\nname = 'p'", "providers[0].kind: missing; it is one of 'anthropic'"),
    ("[[providers]]\nname = 'p'\nkind = 'olama'", "did you mean 'ollama'?"),
    ("[[providers]]\nname = 'p'\nkind = 'claude'", "did you mean 'anthropic'?"),
    (PROVIDER.replace("openai", "LMStudio"), "did you mean 'openai'?"),
    # Impossible values.
    ("[resource_monitor]\ncpu_threshold = 95", "resource_monitor.cpu_threshold: critical_cpu (90 percent) must be abo"),
    ("[resource_monitor]\ncritical_gpu = 85", "resource_monitor.critical_gpu: critical_gpu (85 percent) must be above"),
    ("[server]\nhost = 'http://0.0.0.0'", "server.host: it must be the address to listen on"),
    ("[server]\nhost = '*'", "server.host: it must be the address to listen on"),
    ("[server]\nhost = ''", "server.host: it must be the address to listen on"),
    ("[server]\nhost = '0.0.0.0:80'", "server.host: it must be a name or an address alone"),
    ("[server]\napi_keys_env = 'A'\napi_keys_file = 'b'", "server.api_keys_file: api_keys_env is given too"),
    ("[server]\napi_keys_env = '$KEYS'", "server.api_keys_env: it must be the name of an environment variable"),
    ("[server]\napi_keys_file = ' '", "server.api_keys_file: empty"),
    ("[embedded]\nmodel = ''", "embedded.model: empty"),
    (PROVIDER + PROVIDER, "providers[1].name: 'p' is the name of providers[0] already"),
    (PROVIDER + PROVIDER.replace('"p"', '"P"'), "providers[1].name: 'P' is the name of providers[0] already"),
    (PROVIDER.replace('"p"', '"a:b"'), "providers[0].name: 'a:b' has a colon, which is where the name ends"),
    (PROVIDER.replace('"p"', '"auto"'), "providers[0].name: 'auto' is what clients say to mean every provider"),
    (PROVIDER.replace('"p"', '"Embedded"'), "providers[0].name: 'Embedded' is the name of the embedded model's"),
    (PROVIDER.replace('"p"', '"my pc"'), "providers[0].name: 'my pc' cannot be used"),
    (PROVIDER.replace('"p"', f'"{"x" * 65}"'), "at most 64"),
    (PROVIDER.replace('"p"', '""'), "providers[0].name: '' cannot be used"),
    ("[[providers]]\nname = 'e'\nkind = 'embedded'", "providers[0].kind: the embedded model has a section of its own"),
    ("[[providers]]\nname = 's'\nkind = 'scripted'\nbase_url = 'http://h'", "runs inside this server"),
    ("[[providers]]\nname = 'p'\nkind = 'openai'", "providers[0].base_url: missing"),
    (PROVIDER.replace("http://h/v1", "localhost:11434"), "did you mean http://localhost:11434?"),
    (PROVIDER.replace("http://h/v1", "ftp://h/v1"), "it must begin with http:// or https://"),
    (PROVIDER.replace("http://h/v1", "http:///v1"), "it names no host"),
    (PROVIDER.replace("http://h/v1", "http://h:0/v1"), "port 0 cannot be connected to"),
    (PROVIDER.replace("http://h/v1", "http://h:99999/v1"), "it cannot be read as an address"),
    (PROVIDER.replace("http://h/v1", "http://[::1/v1"), "it cannot be read as an address"),
    (PROVIDER.replace("http://h/v1", "http://h/v1?a=b"), "without '?' and '#'"),
    (PROVIDER.replace("http://h/v1", "http://h/a b"), "it has white space in it"),
    (PROVIDER.replace("http://h/v1", "http://h/v1/chat/completions"), "it must be the address of the whole API"),
    (PROVIDER.replace("http://h/v1", "http://localhost:62549/v1"), "that is this server itself"),
    ("[server]\nport = 8000\n" + PROVIDER.replace("http://h", "http://127.0.0.1:8000"), "that is this server itself"),
    (PROVIDER + "api_key_env = 'A'\napi_key_file = 'b'", "providers[0].api_key_file: api_key_env is given too"),
    (PROVIDER + "api_key_env = 'my key'", "providers[0].api_key_env: it must be the name of an environment variable"),
    (PROVIDER + "api_key_file = ''", "providers[0].api_key_file: empty"),
    (PROVIDER + "models = ['a', '']", "providers[0].models: a name in it is empty"),
    (PROVIDER + "models = ['a', 'a']", "providers[0].models: 'a' stands in it twice"),
    (PROVIDER + 'headers = { "X-A" = "a\\nb" }', "providers[0].headers.X-A: its value has a line break"),
    (PROVIDER + 'headers = { "X-A" = "é" }', "providers[0].headers.X-A: its value must be printable ASCII"),
    (PROVIDER + 'headers = { "X A" = "b" }', "providers[0].headers.'X A': that is not a header's name"),
    (PROVIDER + 'headers = { "Host" = "b" }', "providers[0].headers.Host: this header belongs to HTTP itself"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ONE_PROBLEM)
def test_one_problem(text: str, expected: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert expected in found[0]


SECRET = "sk-verysecret123"
INLINE = [
    (PROVIDER + f"api_key = '{SECRET}'", "providers[0].api_key", "api_key_env"),
    (PROVIDER + "token = 'hunter2hunter2'", "providers[0].token", "api_key_env"),
    (f"[server]\napi_keys = ['{SECRET}']", "server.api_keys", "api_keys_env"),
    (f"api_key = '{SECRET}'", "api_key", "api_key_env"),
    (PROVIDER + f"headers = {{ Authorization = 'Bearer {SECRET}' }}", "providers[0].headers.Authorization", "api_key_"),
    (PROVIDER + "headers = { X-Api-Key = 'hunter2hunter2' }", "providers[0].headers.X-Api-Key", "api_key_env"),
    (PROVIDER + f"headers = {{ X-Other = '{SECRET}' }}", "providers[0].headers.X-Other", "api_key_env"),
    (PROVIDER + f"api_key_env = '{SECRET}'", "providers[0].api_key_env", "the name of the variable"),
    (PROVIDER + f"api_key_file = '{SECRET}'", "providers[0].api_key_file", "the path of the file"),
    (f"[server]\napi_keys_env = '{SECRET}'", "server.api_keys_env", "the name of the variable"),
    (PROVIDER.replace("http://h", "http://me:hunter2hunter2@h"), "providers[0].base_url", "api_key_env"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "cure"), INLINE)
def test_a_secret_in_the_file_is_refused_and_never_repeated(text: str, path: str, cure: str) -> None:
    found = problems(text)
    assert any(problem.startswith(f"{path}: ") and cure in problem for problem in found)
    assert not any("verysecret" in problem or "hunter2" in problem for problem in found)


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """
    [server]
    port = "80"
    hots = "x"
    [resource_monitor]
    cpu_threshold = 95
    [[providers]]
    name = "auto"
    kind = "olama"
    base_url = "h"
    max_concurrency = 0
    [[providers]]
    name = "x"
    kind = "openai"
    headers = { a = 3, "b\\n" = "c" }
    api_key = "k"
    """
    paths = [problem.partition(": ")[0] for problem in problems(text)]
    assert [path.partition(".")[0] for path in paths] == (
        ["server"] * 2 + ["resource_monitor"] + ["providers[0]"] * 4 + ["providers[1]"] * 4
    )
    assert {"providers[1].api_key", "providers[1].base_url", "providers[1].headers.a"} <= set(paths)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\nb = ", "at line 2, column 5, the end of the file"),
        ("[server]\nhost = 'a\n'", "at line 2, column 10"),
        ("[server]\nport = = 3", "at line 2, column 8"),
        ("[server]\n[server]", "at line 2, column"),
    ],
)
def test_what_is_no_toml_is_told_with_its_place(text: str, place: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith("not TOML: ")
    assert place in problem


def test_nesting_without_end_is_told() -> None:
    assert problems("a = " + "[" * 5000) == ["its values are nested too deeply"]


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_whatever_a_key_holds_the_answer_is_settings_or_problems(data: st.DataObject) -> None:
    import msgspec

    from oblix_actors.config.convert import convert
    from oblix_actors.config.inline import inline_secrets
    from oblix_actors.config.values import impossible
    from oblix_actors.settings import ProviderSettings, Settings

    section = data.draw(st.sampled_from([name for name in Settings.__struct_fields__ if name != "source"]))
    if section == "providers":
        key = data.draw(st.sampled_from(ProviderSettings.__struct_fields__))
        entry = {"name": "p", "kind": "openai", "base_url": "http://h", key: data.draw(VALUES)}
        document: dict[str, object] = {"providers": [entry]}
    else:
        kind = next(field.type for field in msgspec.structs.fields(Settings) if field.name == section)
        key = data.draw(st.sampled_from(kind.__struct_fields__))
        document = {section: {key: data.draw(VALUES)}}
    told = inline_secrets(document)
    draft, found = convert(document, frozenset(told))
    assert all(isinstance(problem, str) for problem in [*found, *impossible(draft)])

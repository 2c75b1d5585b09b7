"""`tollgate config`: the settings in force."""

from pathlib import Path
from typing import Any

from rich.markup import escape

from connectors.cli.app import app, print_json, print_pairs
from connectors.settings import (
    database_settings,
    engine_settings,
    http_settings,
    kafka_settings,
    masked,
    metrics_settings,
    nightly_settings,
    numbers_settings,
)


@app.command
def config(*, json: bool = False) -> None:
    """Print the settings in force, after tollgate.toml and the environment; secrets are masked."""
    tables = {
        name: {key: _plain(value) for key, value in masked(settings).items()}
        for name, settings in (
            ("engine", engine_settings()),
            ("kafka", kafka_settings()),
            ("database", database_settings()),
            ("http", http_settings()),
            ("metrics", metrics_settings()),
            ("nightly", nightly_settings()),
            ("numbers", numbers_settings()),
        )
    }
    if json:
        print_json(tables)
    else:
        for name, values in tables.items():
            print_pairs(escape(f"[{name}]"), [(key, _shown(value)) for key, value in values.items()])


def _plain(value: Any) -> Any:
    match value:
        case frozenset():
            return sorted(value)
        case tuple():
            return list(value)
        case Path():
            return str(value)
    return value


def _shown(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(value) or "–"
        case dict():
            return (
                "; ".join(
                    f"{name}={some if isinstance(some, str) else ', '.join(some)}" for name, some in value.items()
                )
                or "–"
            )
    return str(value)

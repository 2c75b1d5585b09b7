"""`tollgate config`: the settings in force."""

import msgspec

from connectors.cli.app import app, print_json, print_pairs, settings


@app.command
def config(*, json: bool = False) -> None:
    """Print the settings in force, after tollgate.toml and the environment."""
    found = msgspec.structs.asdict(settings())
    plain = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in found.items()}
    if json:
        print_json({"engine": plain})
    else:
        print_pairs("[engine]", [(name, str(value)) for name, value in plain.items()])

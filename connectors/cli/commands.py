"""All commands: importing a command's module registers it."""

from importlib import import_module

from connectors.cli.app import app
from connectors.cli.entry import MODULES

__all__ = ["app"]

for _module in sorted(set(MODULES.values())):
    import_module(f"connectors.cli.{_module}")

"""The command line: `tollgate`. Each command parses, calls, prints; nothing is decided here."""

from connectors.cli.entry import main

__all__ = ["main"]

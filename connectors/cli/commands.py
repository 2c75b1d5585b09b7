"""All commands; importing this module registers them."""

from connectors.cli import check, config, convert, demo, replay

__all__ = ["check", "config", "convert", "demo", "replay"]

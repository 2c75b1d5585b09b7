"""All commands; importing this module registers them."""

from connectors.cli import check, config, replay

__all__ = ["check", "config", "replay"]

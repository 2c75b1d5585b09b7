"""The way in. A command's module is imported when it is called: most need a small part of all that is here."""

import gc
import sys
import zoneinfo
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn

import cyclopts

from connectors.cli.app import Refused, app, err
from connectors.settings import BadSettings

MODULES: Mapping[str, str] = {
    "ask": "ask",
    "audit": "audit",
    "check": "check",
    "config": "config",
    "console": "api",
    "convert": "convert",
    "demo": "demo",
    "engine": "engine",
    "explain": "explain",
    "load": "load",
    "lock": "locks",
    "migrate": "migrate",
    "nightly": "nightly",
    "number": "numbers",
    "prices": "prices",
    "projector": "projector",
    "rejected": "rejected",
    "relay": "relay",
    "replay": "replay",
    "rerate": "rerate",
    "topics": "topics",
    "user": "user",
}
"""In which module of this package a command is."""


def register(arguments: Sequence[str]) -> None:
    """Registers the command that the arguments name; all commands where they name none."""
    module = MODULES.get(arguments[0]) if arguments else None
    import_module(f"connectors.cli.{module or 'commands'}")


def main() -> NoReturn:
    """Runs the command that the arguments name and exits with its code."""
    # Tables live as long as the process; the collector need not walk them over and over.
    gc.set_threshold(50_000, 20, 100)
    # Time zones come from the pinned package: the same call costs the same on every machine.
    zoneinfo.reset_tzpath(())
    register(sys.argv[1:])
    try:
        code = app(exit_on_error=False, print_error=True, result_action="return_value")
    except cyclopts.CycloptsError:
        sys.exit(2)
    except (Refused, BadSettings) as refused:
        err.print(f"tollgate: {refused}", markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("tollgate: interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has had enough.
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)

"""All commands, and the way in: importing a command's module registers it."""

import gc
import sys
import zoneinfo
from typing import NoReturn

import cyclopts

from connectors.cli import (
    api,
    ask,
    audit,
    check,
    config,
    convert,
    demo,
    engine,
    explain,
    load,
    locks,
    migrate,
    nightly,
    numbers,
    projector,
    rejected,
    relay,
    replay,
    rerate,
    topics,
    user,
)
from connectors.cli.app import Refused, app, err
from connectors.settings import BadSettings

__all__ = [
    "api",
    "ask",
    "audit",
    "check",
    "config",
    "convert",
    "demo",
    "engine",
    "explain",
    "load",
    "locks",
    "main",
    "migrate",
    "nightly",
    "numbers",
    "projector",
    "rejected",
    "relay",
    "replay",
    "rerate",
    "topics",
    "user",
]


def main() -> NoReturn:
    """Runs the command that the arguments name and exits with its code."""
    # Tables live as long as the process; the collector need not walk them over and over.
    gc.set_threshold(50_000, 20, 100)
    # Time zones come from the pinned package: the same call costs the same on every machine.
    zoneinfo.reset_tzpath(())
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

"""The warden of an embedded PostgreSQL: waits until nobody uses it any more, then stops it.

A program of its own, started by the first user of a data folder and outliving it. Users hold a shared lock on a file
for as long as they live; the kernel takes it from them however they end, so that no server is left behind by a program
that was killed. It needs Python's standard library alone.
"""

import fcntl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str]) -> int:
    """`arguments`: the file that users lock, user and group ids that the command runs as (or "-" and "-"), then the
    command that stops the server."""
    users, uid, gid, *stop = arguments
    identity: dict[str, Any] = {} if uid == "-" else {"user": int(uid), "group": int(gid), "extra_groups": ()}
    # Kept open until the end: who comes while the server is stopping waits for that, and starts it anew.
    with Path(users).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return subprocess.run(stop, stdin=subprocess.DEVNULL, check=False, **identity).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Prometheus and promtool: those on the path, or Debian's, unpacked under build/ and never installed.

They are fetched on CI alone, or where `TOLLGATE_FETCH_PROMETHEUS=1` asks for it: a test run should not download 19 MB
behind somebody's back.
"""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_FOLDER = Path(__file__).parent.parent / "build" / "tools" / "prometheus"
_FETCH_SECONDS = 180


def tool(name: str) -> Path:
    """The program `prometheus` or `promtool`; skips the test where it can't be had."""
    if (there := shutil.which(name)) is not None:
        return Path(there)
    fetched = _FOLDER / "usr" / "bin" / name
    if not fetched.exists():
        if not (os.environ.get("CI") or os.environ.get("TOLLGATE_FETCH_PROMETHEUS")):
            pytest.skip(f"{name} is not there: install Debian's prometheus, or set TOLLGATE_FETCH_PROMETHEUS=1")
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            pytest.skip(f"{name} is not there, and this is no Debian that it could be had from")
        _fetch()
    return fetched


def _fetch() -> None:
    _FOLDER.parent.mkdir(parents=True, exist_ok=True)
    # Half an unpacked package must not be taken for a whole one.
    with TemporaryDirectory(dir=_FOLDER.parent) as name:
        folder = Path(name)
        if _apt(folder, "download", "prometheus").returncode != 0:
            # A new machine has no package lists yet.
            _apt(folder, "update", "-qq")
            again = _apt(folder, "download", "prometheus")
            assert again.returncode == 0, again.stderr
        (package,) = folder.glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, folder / "all"], check=True, timeout=_FETCH_SECONDS)
        shutil.rmtree(_FOLDER, ignore_errors=True)
        (folder / "all").rename(_FOLDER)


def _apt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", *arguments], cwd=folder, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False
    )

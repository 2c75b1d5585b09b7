"""What Kafka needs on a machine: a Java that is new enough, and the jars that `pom.xml` beside this file names.

The jars come from Maven once and are kept in the user's cache; Maven is needed for that only. What is missing is
installed where we may (root on a Debian), or asked for.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.kafka.trouble import KafkaTrouble

POM = Path(__file__).with_name("pom.xml")
OLDEST_JAVA = 17  # for Kafka 4's broker and tools


def libraries() -> Path:
    """The folder of Kafka's jars, filled first if it is not there yet. Several processes may ask at once.

    Raises KafkaTrouble if Maven is missing or cannot fetch them.
    """
    cache = _cache_folder()
    libs = cache / "libs"
    if libs.is_dir():
        return libs
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        # Another process may have filled it while we waited.
        if not libs.is_dir():
            _fetch(libs)
    return libs


def java() -> str:
    """The path of a Java of version 17 or newer: JAVA_HOME's, or the one on the PATH.

    Raises KafkaTrouble if there is none and it cannot be installed.
    """
    found = _java_on_this_machine()
    if isinstance(found, str):
        return found
    if _may_install():
        _install(_headless_java)
        found = _java_on_this_machine()
        if isinstance(found, str):
            return found
    raise found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file: other processes wait. It is free again when we end, however that happens."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    version = re.search(r"<kafka\.version>(.+?)</kafka\.version>", POM.read_text())
    assert version is not None
    return (Path(base) if base else Path.home() / ".cache") / "tollgate" / f"kafka-{version[1]}"


def _fetch(libs: Path) -> None:
    maven = _maven()
    # Only a complete folder gets the name under which it is looked for.
    with tempfile.TemporaryDirectory(dir=libs.parent, prefix="fetching-") as folder:
        partial = Path(folder) / "libs"
        command = [maven, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise KafkaTrouble("\n".join(["Maven could not fetch Kafka's jars:", *lines[:8]]))
        partial.rename(libs)


def _maven() -> str:
    maven = shutil.which("mvn")
    if maven is None and _may_install():
        _install(lambda: "maven")
        maven = shutil.which("mvn")
    if maven is None:
        raise KafkaTrouble("mvn is not there to fetch Kafka's jars; install Maven (Debian: apt-get install maven)")
    return maven


def _java_on_this_machine() -> str | KafkaTrouble:
    home = os.environ.get("JAVA_HOME")
    path = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    remedy = f"install Java {OLDEST_JAVA} or newer (Debian: apt-get install openjdk-17-jre-headless)"
    if path is None:
        return KafkaTrouble(f"java is not there; {remedy}")
    try:
        said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    except OSError as error:
        return KafkaTrouble(f"{path} does not run ({error.strerror}); correct JAVA_HOME or {remedy}")
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if version is None:
        return KafkaTrouble(f"{path} does not tell its version; {remedy}")
    if int(version[1]) < OLDEST_JAVA:
        return KafkaTrouble(f"{path} is Java {version[1]}; {remedy}")
    return path


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(package: Callable[[], str]) -> None:
    _apt("apt-get", "update", "-qq")
    _apt("apt-get", "install", "-y", "-qq", "--no-install-recommends", package())


def _headless_java() -> str:
    """Debian's package of Java 17; where it has gone, of the newest there is."""
    names = _apt("apt-cache", "pkgnames", "openjdk-")
    versions = {int(v) for v in re.findall(r"^openjdk-(\d+)-jre-headless$", names, re.MULTILINE)}
    wanted = OLDEST_JAVA if OLDEST_JAVA in versions else max(versions, default=OLDEST_JAVA)
    return f"openjdk-{wanted}-jre-headless"


def _apt(*command: str) -> str:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise KafkaTrouble(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout

"""A certificate authority of one's own and a broker's certificate signed by it, made with the openssl command line."""

import shutil
import subprocess
from pathlib import Path

from deploy.kafka.trouble import KafkaTrouble

_CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = tollgate local Kafka
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[broker]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost,IP:127.0.0.1
"""


def make_certificates(folder: Path) -> None:
    """Fills the folder, unless it is filled: `ca.pem` for clients to verify the broker by, `broker.pem` for the broker.

    The broker goes by localhost and 127.0.0.1. The authority's key is thrown away: it signs nothing else.
    """
    if (folder / "broker.pem").exists():
        return
    if shutil.which("openssl") is None:
        raise KafkaTrouble("openssl is not there to make certificates; install it (Debian: apt-get install openssl)")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "openssl.cnf").write_text(_CONFIG)
    for name in ("ca", "broker"):
        _openssl(folder, f"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key")
    _openssl(folder, "req -config openssl.cnf -x509 -new -key ca.key -days 3650 -extensions authority -out ca.pem")
    _openssl(folder, "req -config openssl.cnf -new -key broker.key -out broker.csr")
    _openssl(
        folder,
        "x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 "
        "-extfile openssl.cnf -extensions broker -out broker.crt",
    )
    # Kafka takes key and chain from one file. It comes last and by a rename, for it tells that the folder is filled.
    whole = folder / "broker.new"
    whole.touch(mode=0o600)
    whole.write_text("".join((folder / name).read_text() for name in ("broker.key", "broker.crt", "ca.pem")))
    (folder / "ca.key").unlink()
    whole.rename(folder / "broker.pem")


def _openssl(folder: Path, words: str) -> None:
    command = ["openssl", *words.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KafkaTrouble(f"{' '.join(command)} failed: {done.stderr.strip()}")

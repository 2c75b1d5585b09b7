"""Tokens: of sessions, of API keys, one-time ones. 32 random bytes each; what is kept of them is a hash."""

import base64
import hashlib
import secrets
from typing import NamedTuple

_KEY_MARK = "tg"


class NewKey(NamedTuple):
    """An API key that was just made: what its owner gets, once, and what is kept."""

    text: str
    prefix: str
    secret_hash: bytes


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> bytes:
    """What is kept of a token. A fast hash is enough: there are 2^256 tokens to try."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def csrf_of(token: str) -> str:
    """A session's proof for changing requests: follows from its token, and tells nothing about it."""
    return hashlib.sha256(b"csrf\0" + token.encode("utf-8", "surrogatepass")).hexdigest()


def new_key() -> NewKey:
    """A new API key: `tg_<prefix>_<secret>`. The prefix may be shown, and finds the key in lists and logs."""
    prefix = base64.b32encode(secrets.token_bytes(5)).decode().lower()
    text = f"{_KEY_MARK}_{prefix}_{new_token()}"
    return NewKey(text, prefix, hash_of(text))


def prefix_of(key: str) -> str | None:
    """The part of a key that may be shown; None for what is no key."""
    mark, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    return prefix if mark == _KEY_MARK and len(prefix) == 8 and prefix.isascii() and secret else None


def cookie_name(*, secure: bool) -> str:
    """With TLS a browser takes it from this host alone and sends it over TLS alone (RFC 6265bis, `__Host-`)."""
    return "__Host-tollgate" if secure else "tollgate"

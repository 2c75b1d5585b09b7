"""Passwords as argon2id hashes; hashed aside, a few at once, so that a flood of logins starves nobody."""

import asyncio
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

AT_ONCE = 2
"""Each takes 64 MiB and tens of milliseconds of a core."""


class Passwords:
    """`hasher`: with what parameters; the default is RFC 9106's for machines with little memory."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._room = asyncio.Semaphore(AT_ONCE)
        # A user who is not there takes as long as one who is.
        self._nobody = self._hasher.hash("nobody's")

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        async with self._room:
            return await asyncio.to_thread(self._hasher.hash, _normal(password))

    async def fits(self, password: str, kept: str | None) -> bool:
        """Whether it is the one; None is a user who has none, and takes the same time to say no."""
        async with self._room:
            fits = await asyncio.to_thread(self._verify, _normal(password), self._nobody if kept is None else kept)
        return fits and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, password: str, kept: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False


def _normal(password: str) -> str:
    """The same password typed on another keyboard has the same bytes (RFC 8265)."""
    return unicodedata.normalize("NFC", password)

"""Price lists in chunks: how prices are packed for the topic, and where a worker keeps the chunks it has read.

Prices stand in order of their prefixes. A chunk ends before a prefix that says so itself, by its hash: an edit of one
price changes one chunk, wherever rows come in or fall out, and the other chunks are those that workers have.
"""

import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter

import msgspec

from schemas.codec import encode
from schemas.reference import ChunkRef, PriceChunk, PriceRow, PriceTerms, PriceTier

LEAST_PRICES = 64
MOST_PRICES = 2_000
"""A chunk ends at one prefix in 256, but not before so many prices, and at any prefix after so many."""

_decode = msgspec.json.Decoder(PriceChunk).decode

Priced = tuple[str, PriceTerms]
"""A prefix and one of its prices."""


def packed(rows: Iterable[PriceRow]) -> list[Priced]:
    """The prices of one list's rows, in the order in which they stand in chunks: of prefix, then of conditions."""
    tiers: dict[tuple[str | None, ...], list[PriceTier]] = {}
    for row in rows:
        key = (row.prefix, row.service, row.place, row.incoming_service, row.valid_from, row.valid_to)
        tier = PriceTier(
            price_micros=row.price_micros,
            per_seconds=row.per_seconds,
            step_seconds=row.step_seconds,
            from_second=row.from_second,
            band_id=row.band_id,
            connect_fee_micros=row.connect_fee_micros,
            min_charge_micros=row.min_charge_micros,
            max_charge_micros=row.max_charge_micros,
            attempt_fee_micros=row.attempt_fee_micros,
        )
        if (there := tiers.get(key)) is None:
            tiers[key] = [tier]
        else:
            there.append(tier)
    # Null, which is never written as an empty text, goes first.
    ordered = sorted(tiers, key=lambda key: [part or "" for part in key])
    return [(key[0] or "", _terms(key, tiers[key])) for key in ordered]


def _terms(key: tuple[str | None, ...], tiers: list[PriceTier]) -> PriceTerms:
    if len(tiers) > 1:
        tiers.sort(key=lambda tier: (tier.band_id or "", tier.from_second))
    _, service, place, incoming_service, valid_from, valid_to = key
    return PriceTerms(tuple(tiers), service, place, incoming_service, valid_from, valid_to)


def chunks(prices: Sequence[Priced]) -> Iterator[tuple[ChunkRef, bytes]]:
    """The chunks of a list's prices, each with its record's bytes."""
    gathered: list[Priced] = []
    for prefix, same in groupby(prices, key=itemgetter(0)):
        if len(gathered) >= MOST_PRICES or (len(gathered) >= LEAST_PRICES and _begins_a_chunk(prefix)):
            yield _chunk(gathered)
            gathered = []
        gathered += same
    if gathered:
        yield _chunk(gathered)


def _begins_a_chunk(prefix: str) -> bool:
    return blake2b(prefix.encode(), digest_size=1).digest() == b"\0"


def _chunk(prices: Sequence[Priced]) -> tuple[ChunkRef, bytes]:
    places: dict[PriceTerms, int] = {}
    terms_of = tuple([places.setdefault(terms, len(places)) for _, terms in prices])
    value = encode(PriceChunk(tuple([prefix for prefix, _ in prices]), terms_of, tuple(places)))
    return ChunkRef(digest(value), prices[0][0], len(prices)), value


def digest(value: bytes) -> str:
    """What a chunk is called."""
    return urlsafe_b64encode(blake2b(value, digest_size=15).digest()).decode()


class ChunkStore:
    """Chunks by their digests, deflated: a million prices take some ten megabytes. Several threads may read."""

    def __init__(self) -> None:
        self._deflated: dict[str, bytes] = {}
        self.bytes = 0
        """What the chunks take up here."""

    def __len__(self) -> int:
        return len(self._deflated)

    def put(self, name: str, value: bytes) -> bool:
        """Keeps a chunk; False when its content is not what it is called after, and it is not kept."""
        if digest(value) != name:
            return False
        self.remove(name)
        deflated = self._deflated[name] = zlib.compress(value, 1)
        self.bytes += len(deflated)
        return True

    def remove(self, name: str) -> None:
        """Lets go of a chunk, if it is here."""
        if (deflated := self._deflated.pop(name, None)) is not None:
            self.bytes -= len(deflated)

    def read(self, name: str) -> PriceChunk:
        """See `engine.editions.Chunks`."""
        return _decode(zlib.decompress(self._deflated[name]))

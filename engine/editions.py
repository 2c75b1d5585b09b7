"""Editions: a price list with all of its prices, packed in chunks, and the tables made of such lists.

A `TableBuilder` makes the indexes of a coming change from those in force, and touches nothing that is in force: it may
work in another thread while calls are decided, and what it has made is put in force at once. Chunks that two editions
share are not looked at. A former edition is kept as the chunks it is; its prices are unpacked one by one when they are
asked for. Where chunks are kept is not known here.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from engine.bands import BandHours
from engine.prefix_index import HEAD, SHORT, PrefixIndex
from engine.prices import Former, ListTerms, Price, PriceBuilder, Scope, list_terms, price_index
from engine.tariffs import Tariff
from schemas.reference import Band, ChunkRef, PriceChunk, PriceListEdition

_MEMORY = 20_000
"""Prefixes that a former edition remembers: some hundred bytes each."""

_RECENT = 16
"""Chunks that a former edition keeps unpacked: some ten thousand bytes each."""


class DoesNotFit(Exception):
    """A change that can't come into force as it is. Says what and why; nothing of it has been done."""


class Chunks(Protocol):
    """Where chunks are kept."""

    def read(self, digest: str) -> PriceChunk:
        """Raises KeyError when there is no such chunk, ValueError when it can't be read."""
        ...


class Tables(NamedTuple):
    """The indexes of a coming change, ready to be put in force."""

    lists: Mapping[str, PriceListEdition | None]
    bands: Mapping[str, Band | None]
    base: tuple[object, ...]
    """What they were made from: they are of use as long as it is in force."""

    hours: dict[str, BandHours]
    terms: dict[str, ListTerms]
    wholesale: PrefixIndex[Price] | None
    retail: dict[str, PrefixIndex[Price]]
    formers: dict[str, Former]
    """What each list that changed had before."""
    used: dict[str, frozenset[str]]
    """The bands that may occur in the prices of each list that changed."""
    prices: int
    """How many prices were made."""


class TableBuilder:
    """Makes the `Tables` of a change. All that it reads is immutable or its own."""

    def __init__(
        self,
        *,
        editions: Mapping[str, PriceListEdition],
        hours: Mapping[str, BandHours],
        used: Mapping[str, frozenset[str]],
        wholesale: PrefixIndex[Price],
        retail: Mapping[str, PrefixIndex[Price]],
        lists: Mapping[str, PriceListEdition | None],
        bands: Mapping[str, Band | None],
        chunks: Chunks,
    ) -> None:
        """`editions`, `hours`, `used`, `wholesale` and `retail` are those in force, `lists` and `bands` what comes."""
        self._editions = dict(editions)
        self._hours_before = dict(hours)
        self._used = dict(used)
        self._wholesale = wholesale
        self._retail = dict(retail)
        self._lists = dict(lists)
        self._bands = dict(bands)
        self._chunks = chunks
        self._hours = dict(hours)
        self._prices = 0
        # The lists that come, and those whose prices are made anew because a band of theirs changes.
        self._changed = list(self._lists)
        for list_id, names in self._used.items():
            if list_id in self._editions and list_id not in self._lists and not names.isdisjoint(self._bands):
                self._changed.append(list_id)

    @property
    def prices(self) -> int:
        """About how many prices there are to make."""
        return sum(self._edition_prices(list_id) for list_id in self._changed)

    def _edition_prices(self, list_id: str) -> int:
        before, after = self._editions.get(list_id), self._coming(list_id)
        if after is None:
            return 0
        known = set() if before is None or before.price_list != after.price_list else {*before.chunks}
        return sum(ref.prices for ref in after.chunks if ref not in known)

    def build(self) -> Tables:
        """Raises DoesNotFit, naming the list."""
        for band_id, band in self._bands.items():
            try:
                if band is None:
                    self._hours.pop(band_id, None)
                else:
                    self._hours[band_id] = BandHours(band)
            except (KeyError, ValueError) as wrong:
                raise DoesNotFit(f"band {band_id!r}: {_said(wrong)}") from None
        terms: dict[str, ListTerms] = {}
        for list_id in self._changed:
            try:
                if (edition := self._coming(list_id)) is not None:
                    terms[list_id] = list_terms(edition.price_list)
            except ValueError as wrong:
                raise DoesNotFit(f"price list {list_id!r}: {_said(wrong)}") from None
        builder = PriceBuilder(terms, self._hours)
        shared: dict[str, dict[str, _SharedEdit]] = {}
        retail: dict[str, dict[str, dict[str, tuple[Price, ...]]]] = {}
        used: dict[str, set[str]] = {}
        for list_id in self._changed:
            before, after = self._editions.get(list_id), self._coming(list_id)
            found = used.setdefault(list_id, set(self._used.get(list_id, ())))
            # A list that has become the other kind leaves the one table and enters the other.
            for kind in ("wholesale", "retail"):
                old = before if before is not None and before.price_list.kind == kind else None
                new = after if after is not None and after.price_list.kind == kind else None
                if old is None and new is None:
                    continue
                try:
                    made = self._made(list_id, old, new, builder, terms.get(list_id), found)
                    if kind == "wholesale":
                        _gather_shared(shared, list_id, terms.get(list_id), made)
                    else:
                        _gather(retail.setdefault(list_id, {}), terms.get(list_id), made)
                except ValueError as wrong:
                    raise DoesNotFit(f"price list {list_id!r}: {_said(wrong)}") from None
        return Tables(
            lists=self._lists,
            bands=self._bands,
            base=base(self._wholesale, self._retail, self._changed, self._hours_before),
            hours=self._hours,
            terms=terms,
            wholesale=self._wholesale.edited(_edits(self._wholesale, shared)) if shared else None,
            retail={
                list_id: self._retail.get(list_id, price_index()).edited(edits) for list_id, edits in retail.items()
            },
            formers={
                list_id: FormerEdition(self._editions[list_id], self._hours_before, self._chunks).own
                for list_id in self._changed
                if list_id in self._editions
            },
            used={list_id: frozenset(names) for list_id, names in used.items()},
            prices=self._prices,
        )

    def _coming(self, list_id: str) -> PriceListEdition | None:
        return self._lists[list_id] if list_id in self._lists else self._editions[list_id]

    def _made(
        self,
        list_id: str,
        old: PriceListEdition | None,
        new: PriceListEdition | None,
        builder: PriceBuilder,
        terms: ListTerms | None,
        used: set[str],
    ) -> Iterator["_Made"]:
        """What a list has at the prefixes of the chunks that change, chunk by chunk."""
        whole = (
            old is None
            or new is None
            or old.price_list != new.price_list
            or not self._used.get(list_id, frozenset()).isdisjoint(self._bands)
        )
        if whole and new is not None:
            used.clear()
        before, after = () if old is None else old.chunks, () if new is None else new.chunks
        for olds, news in differing(before, after, whole=whole):
            there: set[str] = set()
            last: str | None = None
            for ref in news:
                chunk = _checked(ref, self._chunks, last)
                last = chunk.prefixes[-1]
                assert terms is not None, "a list that comes has terms"
                prices = [builder.unpacked(packed, terms) for packed in chunk.terms]
                for _, tariff in prices:
                    if tariff.banded:
                        used.update(rate.band_id for rate in tariff.rates if rate.band_id is not None)
                if olds:
                    there.update(chunk.prefixes)
                self._prices += ref.prices
                yield chunk.prefixes, [prices[place] for place in chunk.terms_of]
            for ref in olds:
                gone = set(_prefixes(ref, self._chunks)) - there
                if gone:
                    yield sorted(gone), None


_Made = tuple[Sequence[str], list[tuple[Scope, Tariff]] | None]
"""Prefixes in order, each price's, with what is sold at them; None: nothing is any more."""


def _checked(ref: ChunkRef, chunks: Chunks, last: str | None) -> PriceChunk:
    """A chunk. ValueError if it is missing, is not what the edition says of it, or not in its place."""
    try:
        chunk = chunks.read(ref.digest)
    except KeyError:
        raise ValueError(f"chunk {ref.digest} is missing") from None
    there = list(chunk.prefixes)
    if not len(there) == len(chunk.terms_of) == ref.prices or there[0] != ref.first_prefix:
        raise ValueError(f"chunk {ref.digest} is not what the edition says of it")
    if there != sorted(there) or (last is not None and there[0] <= last):
        raise ValueError(f"chunk {ref.digest} is out of order")
    if max(chunk.terms_of) >= len(chunk.terms):
        raise ValueError(f"chunk {ref.digest} has prices without terms")
    return chunk


def _prefixes(ref: ChunkRef, chunks: Chunks) -> Sequence[str]:
    """The prefixes of a chunk that was in force."""
    try:
        return chunks.read(ref.digest).prefixes
    except KeyError:
        raise ValueError(f"chunk {ref.digest}, which is in force, is missing") from None


class _SharedEdit(NamedTuple):
    """What changes at a prefix of the table that lists share."""

    prefix: str
    lists: list[str]
    """Those whose prices there go."""
    prices: list[Price]
    """Those that come."""


def _gather(edits: dict[str, dict[str, tuple[Price, ...]]], terms: ListTerms | None, made: Iterable[_Made]) -> None:
    """What changes in the table of one list."""
    of_head: str | None = None
    bucket: dict[str, tuple[Price, ...]] = {}
    for prefixes, prices in made:
        last: str | None = None
        for place, prefix in enumerate(prefixes):
            if prefix == last:
                assert prices is not None
                assert terms is not None
                bucket[prefix] = _with(bucket[prefix], Price(prefix, terms, *prices[place]))
                continue
            head = prefix[:HEAD] if len(prefix) > HEAD else SHORT
            if head != of_head:
                bucket, of_head = edits.setdefault(head, {}), head
            last = prefix
            if prices is None or terms is None:
                bucket[prefix] = ()
            else:
                scope, tariff = prices[place]
                bucket[prefix] = (Price(prefix, terms, scope, tariff),)


def _gather_shared(
    edits: dict[str, dict[str, _SharedEdit]], list_id: str, terms: ListTerms | None, made: Iterable[_Made]
) -> None:
    """What one list changes in the table that it shares."""
    of_head: str | None = None
    bucket: dict[str, _SharedEdit] = {}
    for prefixes, prices in made:
        last: str | None = None
        for place, prefix in enumerate(prefixes):
            if prefix == last:
                assert prices is not None
                assert terms is not None
                edit = bucket[prefix]
                price = Price(edit.prefix, terms, *prices[place])
                _with(tuple([other for other in edit.prices if other.terms is terms]), price)
                edit.prices.append(price)
                continue
            head = prefix[:HEAD] if len(prefix) > HEAD else SHORT
            if head != of_head:
                bucket, of_head = edits.setdefault(head, {}), head
            last = prefix
            there = bucket.get(prefix)
            if there is None:
                there = bucket[prefix] = _SharedEdit(prefix, [list_id], [])
            else:
                there.lists.append(list_id)
            if prices is not None and terms is not None:
                scope, tariff = prices[place]
                # One text of a prefix for all lists.
                there.prices.append(Price(there.prefix, terms, scope, tariff))


def _with(prices: tuple[Price, ...], price: Price) -> tuple[Price, ...]:
    """A list's prices of a prefix with one more. ValueError if it is for the same calls as one that is there."""
    if any(other.scope == price.scope for other in prices):
        raise ValueError(f"two prices of {price.prefix!r} have the same conditions")
    return (*prices, price)


def _edits(
    index: PrefixIndex[Price], shared: dict[str, dict[str, _SharedEdit]]
) -> dict[str, dict[str, tuple[Price, ...]]]:
    found: dict[str, dict[str, tuple[Price, ...]]] = {}
    while shared:
        head, edits = shared.popitem()
        bucket = found[head] = {}
        for prefix, (_, lists, prices) in edits.items():
            there = index.own(prefix)
            if there:
                prices = [price for price in there if price.terms.price_list_id not in lists] + prices
            bucket[prefix] = tuple(prices)
    return found


def base(
    wholesale: PrefixIndex[Price],
    retail: Mapping[str, PrefixIndex[Price]],
    changed: Iterable[str],
    hours: Mapping[str, BandHours],
) -> tuple[object, ...]:
    """What tables are made from, to be compared: two are the same if nothing has come in force between them."""
    return (wholesale, *[retail.get(list_id) for list_id in changed], *hours.values())


class FormerEdition:
    """An edition that is not in force any more. `own` gives the prices that a prefix had in it."""

    def __init__(self, edition: PriceListEdition, hours: Mapping[str, BandHours], chunks: Chunks) -> None:
        self._refs = edition.chunks
        self._starts = [ref.first_prefix for ref in edition.chunks]
        self._terms = list_terms(edition.price_list)
        self._builder = PriceBuilder({}, hours)
        self._chunks = chunks
        self._found: dict[str, tuple[Price, ...]] = {}
        self._recent: dict[int, PriceChunk] = {}

    def own(self, prefix: str) -> tuple[Price, ...]:
        """The prices that stood at this very prefix; none if their chunk is kept no longer."""
        found = self._found.get(prefix)
        if found is None:
            if len(self._found) >= _MEMORY:
                self._found.clear()
            found = self._found[prefix] = self._unpacked(prefix)
        return found

    def _unpacked(self, prefix: str) -> tuple[Price, ...]:
        place = bisect_right(self._starts, prefix) - 1
        if place < 0:
            return ()
        chunk = self._recent.get(place)
        if chunk is None:
            try:
                chunk = self._chunks.read(self._refs[place].digest)
            except KeyError:
                return ()
            if len(self._recent) >= _RECENT:
                # The prefixes of one number are in few chunks; which one goes does not matter.
                self._recent.pop(next(iter(self._recent)))
            self._recent[place] = chunk
        first = bisect_right(chunk.prefixes, prefix)
        found = []
        while first > 0 and chunk.prefixes[first - 1] == prefix:
            first -= 1
            scope, tariff = self._builder.unpacked(chunk.terms[chunk.terms_of[first]], self._terms)
            found.append(Price(prefix, self._terms, scope, tariff))
        return tuple(found)


def differing(
    old: Sequence[ChunkRef], new: Sequence[ChunkRef], *, whole: bool = False
) -> Iterator[tuple[Sequence[ChunkRef], Sequence[ChunkRef]]]:
    """The stretches in which two editions differ, with the chunks of each; all of them if the `whole` is asked for.

    Where a chunk of both begins with the same prefix, what went before is compared and left behind.
    """
    common = {ref.first_prefix for ref in old} & {ref.first_prefix for ref in new}
    before, after = _stretches(old, common), _stretches(new, common)
    for start in dict.fromkeys((*before, *after)):
        olds, news = before.get(start, []), after.get(start, [])
        if whole or [ref.digest for ref in olds] != [ref.digest for ref in news]:
            yield olds, news


def _stretches(refs: Sequence[ChunkRef], starts: set[str]) -> dict[str | None, list[ChunkRef]]:
    found: dict[str | None, list[ChunkRef]] = {}
    start: str | None = None
    for ref in refs:
        if ref.first_prefix in starts:
            start = ref.first_prefix
        found.setdefault(start, []).append(ref)
    return found


def _said(wrong: Exception) -> str:
    return str(wrong.args[0]) if wrong.args else repr(wrong)

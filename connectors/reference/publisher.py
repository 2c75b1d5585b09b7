"""The publisher: brings a reference folder, or single changes, to the topic `reference`.

It reads what is there, sends what differs, and closes each change with its version in one transaction. Prices go first,
in chunks and in transactions of their own, then a word of what is coming, so that workers make the tables beforehand;
then the change itself. Versions that no call can be priced by any more are taken off the topic. There is one publisher
at a time: a new one fences the former.

What is to come into force at a later moment is staged ahead (`stage_ahead`), while other changes go on, so that nothing
is left to be done in that moment but to say so (`publish_change` with `editions`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice, pairwise
from typing import Any, NamedTuple

from connectors.broker import Broker, Message, Producer, TopicPartition
from connectors.files.reference_folder import ReferenceFolder
from connectors.reference import chunks as packing
from connectors.reference.keys import (
    ACCOUNT,
    BAND,
    CHUNK,
    DISCOUNTS,
    LOCK,
    NUMBER,
    PRICE_LIST,
    PROVIDER,
    SINGLE,
    STAGED,
    TARIFF_PLAN,
    VERSION,
    VERSIONED,
    Key,
    key_bytes,
    read_key,
)
from connectors.reference.records import Stored, Unreadable, decoded, decoded_staged, decoded_version
from engine.settings import EngineSettings
from schemas import topics
from schemas.codec import encode
from schemas.reference import (
    Account,
    AccountDiscounts,
    Band,
    ChunkRef,
    Discount,
    Lock,
    Number,
    PriceList,
    PriceListEdition,
    PriceRow,
    Provider,
    ReferenceVersion,
    Removed,
    Staged,
    TariffPlan,
)
from schemas.times import to_text

TRANSACTIONAL_ID = "tollgate-reference"
CHUNKS_AT_ONCE = 200
"""Chunks in one transaction: some megabytes."""

RECORDS_AT_ONCE = 1_000
"""Records in one batch of a transaction."""

STAGED_PRICES = 20_000
"""From so many prices on a change is staged: a worker makes these in a tenth of a second."""

PRICES_A_SECOND = 100_000
"""What a busy worker makes; it makes three times as many when it has nothing else to do."""

LONGEST_LEAD_SECONDS = 15

Publishable = Account | Lock | Number | Provider | TariffPlan | Band | AccountDiscounts
Aside = Callable[[Callable[[], Any]], Awaitable[Any]]
KINDS = (ACCOUNT, PROVIDER, TARIFF_PLAN, PRICE_LIST, BAND, LOCK, NUMBER, DISCOUNTS)


class Unpublishable(Exception):
    """What can't be published as it is. Names it and the remedy; nothing of it has been published."""


class Counts(NamedTuple):
    """What became of one kind."""

    new: int = 0
    changed: int = 0
    removed: int = 0
    kept: int = 0


class Report(NamedTuple):
    """What a publication did. `version` is the one in force after it; nothing was sent if `published` is False."""

    version: int
    published: bool
    kinds: Mapping[str, Counts]
    prices: int
    """Prices in the lists that are new or changed."""
    chunks_sent: int
    chunks_kept: int
    """Chunks of the new and changed lists that were on the topic already."""
    forgotten: int
    """Versions and chunks that were taken off the topic, since no call can be priced by them."""


class Ahead(NamedTuple):
    """What was staged ahead: its editions, and for how long workers are busy with their tables."""

    editions: tuple[PriceListEdition, ...]
    lead_seconds: float


class _Wanted(NamedTuple):
    """How a kind is to be: its records by id, and whether ids that are missing here are to go."""

    records: Mapping[str, Any]
    whole: bool


class ReferencePublisher:
    """`open` one, publish, `close` it. Raises Fenced when another publisher has come, from whatever it does then.

    After any error but Unpublishable it no longer knows what is on the topic: open another one.
    """

    def __init__(
        self,
        broker: Broker,
        producer: Producer,
        *,
        author: str,
        keep_us: int,
        now_us: Callable[[], int],
        aside: Aside,
    ) -> None:
        self.version = 0
        """The latest version on the topic; 0: none."""
        self._broker = broker
        self._producer = producer
        self._author = author
        self._keep_us = keep_us
        self._now_us = now_us
        self._aside = aside
        self._single: dict[str, dict[str, bytes]] = {kind: {} for kind in SINGLE}
        self._versions: dict[str, dict[str, dict[int, Stored]]] = {kind: {} for kind in VERSIONED}
        self._refs: dict[tuple[str, int], tuple[ChunkRef, ...]] = {}
        self._chunks: set[str] = set()
        self._staged_there = False
        self._ahead: dict[str, PriceListEdition] = {}
        """What the topic says is staged, by price list; a former publisher may have left it."""
        self._going_ahead: frozenset[str] = frozenset()
        """Chunks that are being sent for what will be staged."""
        self._changing = asyncio.Lock()
        """One change at a time; what is staged is changed by one at a time, too."""
        self._in_transaction = asyncio.Lock()
        """A producer has one transaction at a time. Those of chunks sent ahead may lie between those of a change."""

    @classmethod
    async def open(
        cls,
        broker: Broker,
        *,
        author: str,
        settings: EngineSettings | None = None,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        aside: Aside = asyncio.to_thread,
    ) -> "ReferencePublisher":
        """Fences a former publisher, and reads what is there. `settings` say how long a call may be priced late.

        Raises UnknownTopic.
        """
        settings = settings or EngineSettings()
        keep_us = settings.horizon_us + settings.remember_us
        producer = await broker.producer(TRANSACTIONAL_ID)
        publisher = cls(broker, producer, author=author, keep_us=keep_us, now_us=now_us, aside=aside)
        try:
            await publisher._read()
        except BaseException:
            await producer.close()
            raise
        return publisher

    @property
    def staged(self) -> bool:
        """Whether the topic says that anything is staged."""
        return self._staged_there

    def has(self, kind: str, name: str) -> bool:
        """Whether it is published, and not removed."""
        return self._latest(kind, name) is not None

    async def close(self) -> None:
        """Lets go of the producer."""
        await self._producer.close()

    # What is there

    async def _read(self) -> None:
        async for batch in self._broker.read_to_end(TopicPartition(topics.REFERENCE.name, 0)):
            for record in batch:
                if record.key is not None:
                    self._note(record.key, Stored(record.value, record.timestamp_us))

    def _note(self, text: bytes, stored: Stored) -> None:
        """One record of the topic, read or just written. One that can't be read is one to be replaced."""
        if text == VERSION:
            with suppress(Unreadable):
                self.version = max(self.version, decoded_version(stored.value or b"").version)
        elif text == STAGED:
            self._staged_there = stored.value is not None
            self._ahead = {}
            if stored.value is not None:
                with suppress(Unreadable):
                    editions = decoded_staged(stored.value).editions
                    self._ahead = {edition.price_list.price_list_id: edition for edition in editions}
        elif (key := read_key(text)) is not None:
            self._note_key(key, stored)

    def _note_key(self, key: Key, stored: Stored) -> None:
        kind, name, version = key
        if kind == CHUNK:
            if stored.value is None:
                self._chunks.discard(name)
            else:
                self._chunks.add(name)
        elif kind in SINGLE:
            if stored.value is None:
                self._single[kind].pop(name, None)
            else:
                self._single[kind][name] = stored.value
        elif stored.value is None:
            versions = self._versions[kind].get(name, {})
            versions.pop(version, None)
            self._refs.pop((name, version), None)
            if not versions:
                self._versions[kind].pop(name, None)
        else:
            self.version = max(self.version, version)
            self._versions[kind].setdefault(name, {})[version] = stored
            if kind == PRICE_LIST:
                with suppress(Unreadable):
                    edition = decoded(key, stored.value)
                    self._refs[name, version] = () if edition is None else edition.chunks

    def _latest(self, kind: str, name: str) -> bytes | None:
        """What is published of it; None where it is not there, or removed."""
        if kind in SINGLE:
            return self._single[kind].get(name)
        versions = self._versions[kind].get(name)
        if not versions:
            return None
        value = versions[max(versions)].value
        assert value is not None
        try:
            return None if decoded(Key(kind, name), value) in (None, ()) else value
        except Unreadable:
            return value

    def _names(self, kind: str) -> Iterator[str]:
        """The ids that are there."""
        if kind in SINGLE:
            yield from self._single[kind]
        else:
            yield from (name for name in self._versions[kind] if self._latest(kind, name) is not None)

    # What is published

    async def publish_folder(self, folder: ReferenceFolder, *, lead_seconds: float | None = None) -> Report:
        """Makes the topic say what the folder says.

        `lead_seconds`: how long workers get to make the tables of large price lists before these come into force; by
        default as long as they need. Raises Unpublishable, when accounts that are on the topic are not in the folder.
        """
        if missing := sorted(self._single[ACCOUNT].keys() - folder.accounts.keys()):
            listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise Unpublishable(
                f"accounts that were published are not in the folder: {listed}; an account is never removed, since its "
                "calls are still to be charged: keep its row in accounts.csv, with status closed if it has left"
            )
        rows: dict[str, list[PriceRow]] = {name: [] for name in folder.price_lists}
        for row in folder.prices:
            rows[row.price_list_id].append(row)
        wanted = {
            ACCOUNT: _Wanted(folder.accounts, whole=True),
            PROVIDER: _Wanted(folder.providers, whole=True),
            TARIFF_PLAN: _Wanted(folder.tariff_plans, whole=True),
            BAND: _Wanted(folder.bands, whole=True),
            LOCK: _Wanted(folder.locks, whole=True),
            NUMBER: _Wanted(folder.numbers, whole=True),
            DISCOUNTS: _Wanted(_by_account(folder.discounts), whole=True),
        }
        lists = [(price_list, rows[name]) for name, price_list in folder.price_lists.items()]
        return await self._publish(wanted, lists, whole_lists=True, lead_seconds=lead_seconds)

    async def put(self, *records: Publishable) -> Report:
        """Publishes new or changed records as one change: a lock, an account's attributes, its discounts, …

        Raises Unpublishable when one names what is not there.
        """
        wanted: dict[str, dict[str, Any]] = {}
        for record in records:
            kind, name = kind_and_name(record)
            wanted.setdefault(kind, {})[name] = record
        self._check_names(wanted)
        return await self._publish({kind: _Wanted(of, whole=False) for kind, of in wanted.items()}, [])

    async def lift_lock(self, lock_id: str) -> Report:
        """Takes a lock away; nothing is published where there is none."""
        return await self._publish({LOCK: _Wanted({lock_id: None}, whole=False)}, [])

    async def remove_number(self, number: str) -> Report:
        """Takes a number out of the operator's capacity; nothing is published where it is not in it."""
        return await self._publish({NUMBER: _Wanted({number: None}, whole=False)}, [])

    async def put_price_list(
        self, price_list: PriceList, rows: Iterable[PriceRow], *, lead_seconds: float | None = None
    ) -> Report:
        """Publishes a price list with all of its prices, in the place of what it had. `rows` fit together and name
        bands that are there. Raises Unpublishable when the provider of a wholesale list is not there."""
        if price_list.kind == "wholesale":
            self._check_there(PROVIDER, price_list.provider_id, f"price list {price_list.price_list_id!r}", {})
        return await self._publish({}, [(price_list, list(rows))], lead_seconds=lead_seconds)

    async def publish_change(
        self,
        records: Iterable[Publishable],
        *,
        gone: Iterable[tuple[str, str]] = (),
        lists: Sequence[tuple[PriceList, Sequence[PriceRow]]] = (),
        editions: Sequence[PriceListEdition] = (),
    ) -> Report:
        """Publishes all of a change as one version: records, kinds and ids of what is gone, whole price lists.

        `editions`: price lists that `stage_ahead` has given. Raises Unpublishable when a record names what is not there
        and does not come with it either.
        """
        wanted: dict[str, dict[str, Any]] = {PRICE_LIST: {}}
        for record in records:
            kind, name = kind_and_name(record)
            wanted.setdefault(kind, {})[name] = record
        for kind, name in gone:
            assert kind != ACCOUNT, "an account is closed, never removed"
            wanted.setdefault(kind, {})[name] = AccountDiscounts(name, ()) if kind == DISCOUNTS else None
        coming = {
            price_list.price_list_id: price_list
            for price_list in (*(one for one, _ in lists), *(edition.price_list for edition in editions))
        }
        named = {**wanted, PRICE_LIST: {**wanted[PRICE_LIST], **coming}}
        self._check_names({kind: {n: r for n, r in of.items() if r is not None} for kind, of in named.items()})
        for price_list in coming.values():
            if price_list.kind == "wholesale":
                self._check_there(PROVIDER, price_list.provider_id, f"price list {price_list.price_list_id!r}", named)
        return await self._publish(
            {kind: _Wanted(of, whole=False) for kind, of in wanted.items()}, lists, ready=editions
        )

    async def stage_ahead(
        self,
        lists: Sequence[tuple[PriceList, Sequence[PriceRow]]],
        *,
        bands: Iterable[Band] = (),
        removed: Iterable[str] = (),
    ) -> Ahead:
        """Sends ahead all that price lists need which come into force together later, in the place of what was staged
        before; the editions, for `publish_change`. Other changes may be published meanwhile, and until then.

        `bands` and `removed`, ids of price lists, are what else the change will bring that prices depend on.
        """
        packed: list[tuple[PriceListEdition, dict[str, bytes]]] = await self._aside(partial(_packed, lists))
        editions = tuple([edition for edition, _ in packed])
        # Named from here on: another change would take them off again as what nothing names.
        self._going_ahead = frozenset(ref.digest for edition in editions for ref in edition.chunks)
        try:
            missing = {
                key_bytes(CHUNK, name): value
                for _, values in packed
                for name, value in values.items()
                if name not in self._chunks
            }
            await self._send_apart(missing)
            async with self._changing:
                new_bands = tuple(band for band in bands if encode(band) != self._latest(BAND, band.band_id))
                gone = tuple(name for name in removed if self.has(PRICE_LIST, name))
                await self._send({STAGED: encode(Staged(editions, new_bands, gone))}, self._change_time())
        finally:
            self._going_ahead = frozenset()
        sent = sum(ref.prices for one in editions for ref in one.chunks if key_bytes(CHUNK, ref.digest) in missing)
        return Ahead(editions, _lead_seconds(sent))

    async def unstage(self) -> None:
        """What was staged will not come: takes it off the topic. Nothing is sent where nothing is staged."""
        async with self._changing:
            if self._staged_there:
                await self._send({STAGED: None}, self._change_time())
                await self._forget_chunks()

    def _check_names(self, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        for account in wanted.get(ACCOUNT, {}).values():
            self._check_there(TARIFF_PLAN, account.tariff_plan_id, f"account {account.account_id!r}", wanted)
        for plan in wanted.get(TARIFF_PLAN, {}).values():
            for entry in plan.lists:
                self._check_there(PRICE_LIST, entry.price_list_id, f"tariff plan {plan.tariff_plan_id!r}", wanted)
        for discounts in wanted.get(DISCOUNTS, {}).values():
            self._check_there(ACCOUNT, discounts.account_id, "discounts", wanted)
        for kind in (LOCK, NUMBER):
            for name, record in wanted.get(kind, {}).items():
                self._check_there(ACCOUNT, record.account_id, f"{kind} {name!r}", wanted)
                self._check_there(PROVIDER, record.provider_id, f"{kind} {name!r}", wanted)

    def _check_there(self, kind: str, name: str | None, where: str, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        if name is not None and self._latest(kind, name) is None and name not in wanted.get(kind, {}):
            raise Unpublishable(f"{where} names {kind} {name!r}, which is not published; publish that first")

    async def _publish(
        self,
        wanted: Mapping[str, _Wanted],
        lists: Sequence[tuple[PriceList, Sequence[PriceRow]]],
        *,
        ready: Sequence[PriceListEdition] = (),
        whole_lists: bool = False,
        lead_seconds: float | None = None,
    ) -> Report:
        """One change after the other. `ready`: editions whose chunks are on the topic."""
        async with self._changing:
            return await self._published(wanted, lists, ready=ready, whole_lists=whole_lists, lead_seconds=lead_seconds)

    async def _published(
        self,
        wanted: Mapping[str, _Wanted],
        lists: Sequence[tuple[PriceList, Sequence[PriceRow]]],
        *,
        ready: Sequence[PriceListEdition],
        whole_lists: bool,
        lead_seconds: float | None,
    ) -> Report:
        """1. Compare. 2. Send chunks. 3. Stage. 4. Send the change, and what it makes superfluous, in one transaction.
        5. Take chunks off that nothing names any more."""
        # 1
        version = self.version + 1
        kinds = dict.fromkeys(KINDS, Counts())
        records: dict[bytes, bytes | None] = {}
        for kind, (of, whole) in wanted.items():
            if kind == PRICE_LIST:
                continue
            texts = {name: None if record is None else encode(record) for name, record in of.items()}
            kinds[kind] = self._compare(kind, texts, version, records, whole=whole)
        packed: list[tuple[PriceListEdition, dict[str, bytes]]] = await self._aside(partial(_packed, lists))
        editions = {
            edition.price_list.price_list_id: edition for edition in (*ready, *(edition for edition, _ in packed))
        }
        texts = {name: encode(edition) for name, edition in editions.items()}
        if PRICE_LIST in wanted:
            # Of lists the wanted are those that go; the others come with their prices.
            texts = {**dict.fromkeys(wanted[PRICE_LIST].records), **texts}
        kinds[PRICE_LIST] = self._compare(PRICE_LIST, texts, version, records, whole=whole_lists)
        changed = {
            name: edition for name, edition in editions.items() if key_bytes(PRICE_LIST, name, version) in records
        }
        named = {ref.digest for edition in changed.values() for ref in edition.chunks}
        prices = sum(ref.prices for edition in changed.values() for ref in edition.chunks)
        if not records:
            return Report(
                self.version, published=False, kinds=kinds, prices=0, chunks_sent=0, chunks_kept=0, forgotten=0
            )
        # 2
        sent: dict[str, bytes] = {}
        for edition, of_edition in packed:
            if edition.price_list.price_list_id in changed:
                sent.update((name, value) for name, value in of_edition.items() if name not in self._chunks)
        await self._send_apart({key_bytes(CHUNK, name): value for name, value in sent.items()})
        # 3
        ahead = self._ahead
        ends_staging = whole_lists or all(editions.get(name) == edition for name, edition in ahead.items())
        new_prices = sum(ref.prices for edition in changed.values() for ref in edition.chunks if ref.digest in sent)
        if lead_seconds is None:
            lead_seconds = _lead_seconds(new_prices)
        if changed and lead_seconds > 0:
            await self._stage(changed, wanted, records, version)
            await asyncio.sleep(lead_seconds)
        # 4
        now_us = self._change_time()
        if self._staged_there and (ends_staging or self._ahead is not ahead):
            records[STAGED] = None
        outdated = self._outdated(now_us, records)
        records.update(dict.fromkeys(outdated))
        closing = ReferenceVersion(version, to_text(now_us), self._author)
        await self._send({**records, VERSION: encode(closing)}, now_us)
        if not ends_staging and not self._staged_there:
            # This change had to stage its own; what comes later still comes.
            await self._send({STAGED: encode(Staged(tuple(ahead.values()), (), ()))}, self._change_time())
        # 5
        unnamed = await self._forget_chunks()
        return Report(
            version,
            published=True,
            kinds=kinds,
            prices=prices,
            chunks_sent=len(sent),
            chunks_kept=len(named) - len(sent),
            forgotten=len(outdated) + unnamed,
        )

    async def _forget_chunks(self) -> int:
        """Takes chunks off the topic that nothing names: no edition, nor what is staged or about to be."""
        named = {ref.digest for refs in self._refs.values() for ref in refs}
        named.update(ref.digest for edition in self._ahead.values() for ref in edition.chunks)
        unnamed = self._chunks - named - self._going_ahead
        await self._send_apart({key_bytes(CHUNK, name): None for name in sorted(unnamed)})
        return len(unnamed)

    def _compare(
        self,
        kind: str,
        texts: Mapping[str, bytes | None],
        version: int,
        records: dict[bytes, bytes | None],
        *,
        whole: bool,
    ) -> Counts:
        """Adds the records of one kind that differ from what is published."""
        new = changed = removed = kept = 0
        gone = [name for name in self._names(kind) if name not in texts] if whole else []
        for name, text in (*texts.items(), *dict.fromkeys(gone).items()):
            there = self._latest(kind, name)
            if text == there:
                kept += text is not None
                continue
            if text is None:
                removed += 1
                text = _removal(kind, name)
            elif there is None:
                new += 1
            else:
                changed += 1
            records[key_bytes(kind, name, version)] = text
        return Counts(new, changed, removed, kept)

    async def _stage(
        self,
        changed: Mapping[str, PriceListEdition],
        wanted: Mapping[str, _Wanted],
        records: Mapping[bytes, bytes | None],
        version: int,
    ) -> None:
        bands = wanted[BAND].records if BAND in wanted else {}
        staged = Staged(
            editions=tuple(changed.values()),
            bands=tuple(band for name, band in bands.items() if key_bytes(BAND, name, version) in records),
            removed=tuple(
                name
                for name in self._names(PRICE_LIST)
                if name not in changed and key_bytes(PRICE_LIST, name, version) in records
            ),
        )
        await self._send({STAGED: encode(staged)}, self._change_time())

    def _change_time(self) -> int:
        """Now, in whole milliseconds: more than that is not kept with a record."""
        now_us = self._now_us()
        return now_us - now_us % 1000

    def _outdated(self, now_us: int, coming: Mapping[bytes, bytes | None]) -> list[bytes]:
        """Keys of what no call can be priced by any more: it was superseded too long ago."""
        oldest_us = now_us - self._keep_us
        found = []
        for kind, names in self._versions.items():
            for name, versions in names.items():
                ordered = sorted(versions)
                for version, after in pairwise(ordered):
                    if versions[after].at_us < oldest_us:
                        found.append(key_bytes(kind, name, version))
                last = ordered[-1]
                gone = self._latest(kind, name) is None and versions[last].at_us < oldest_us
                if gone and key_bytes(kind, name, self.version + 1) not in coming:
                    found.append(key_bytes(kind, name, last))
        return found

    # Sending

    async def _send_apart(self, records: Mapping[bytes, bytes | None]) -> None:
        """Sends what belongs to no change, in transactions of a bounded size."""
        items = iter(records.items())
        while part := dict(islice(items, CHUNKS_AT_ONCE)):
            await self._send(part, self._change_time())

    async def _send(self, records: Mapping[bytes, bytes | None], at_us: int) -> None:
        """One transaction. What was sent is noted when it has been committed."""
        producer = self._producer
        async with self._in_transaction:
            await producer.begin()
            messages = iter([Message(key, value, at_us) for key, value in records.items()])
            while part := list(islice(messages, RECORDS_AT_ONCE)):
                await producer.send(topics.REFERENCE.name, 0, part)
            await producer.commit()
            for key, value in records.items():
                self._note(key, Stored(value, at_us))


def kind_and_name(record: Publishable) -> tuple[str, str]:
    """Under which key a record is published."""
    match record:
        case Account():
            return ACCOUNT, record.account_id
        case Lock():
            return LOCK, record.lock_id
        case Number():
            return NUMBER, record.number
        case Provider():
            return PROVIDER, record.provider_id
        case TariffPlan():
            return TARIFF_PLAN, record.tariff_plan_id
        case Band():
            return BAND, record.band_id
        case AccountDiscounts():
            return DISCOUNTS, record.account_id


def _lead_seconds(new_prices: int) -> float:
    """For how long workers are busy with so many prices that they have not seen."""
    return min(LONGEST_LEAD_SECONDS, 1 + new_prices // PRICES_A_SECOND) if new_prices > STAGED_PRICES else 0


def _by_account(discounts: Iterable[Discount]) -> dict[str, AccountDiscounts]:
    found: dict[str, list[Discount]] = {}
    for discount in discounts:
        found.setdefault(discount.account_id, []).append(discount)
    return {account_id: AccountDiscounts(account_id, tuple(of)) for account_id, of in found.items()}


def _packed(
    lists: Sequence[tuple[PriceList, Sequence[PriceRow]]],
) -> list[tuple[PriceListEdition, dict[str, bytes]]]:
    """The editions of price lists, each with its chunks by digest."""
    found = []
    for price_list, rows in lists:
        refs, values = [], {}
        for ref, value in packing.chunks(packing.packed(rows)):
            refs.append(ref)
            values[ref.digest] = value
        found.append((PriceListEdition(price_list, tuple(refs)), values))
    return found


def _removal(kind: str, name: str) -> bytes | None:
    """The record that says that a thing is gone: a tombstone where no call is priced by what it was."""
    if kind in SINGLE:
        return None
    if kind == DISCOUNTS:
        return encode(AccountDiscounts(name, ()))
    return encode(Removed(kind, name))  # type: ignore[arg-type]  # one of its kinds: the others are above

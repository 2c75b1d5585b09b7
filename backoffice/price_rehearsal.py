"""Rehearsal of a price list: the calls of the last days, priced anew by the engine's own rating as if a version had
been in force, beside what they would cost by the tables in force now.

Calls keep the provider that carried them and the seconds that they lasted; what a call asked for (number, place,
incoming service, moment) is that of its set-up, its account's plan and place are today's. The version is taken as it
will be on the day that it is meant for, whatever the dates in it say of the calls' own days. Clients' behaviour is not
foretold: a dearer minute is as long as it was.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import replace

from engine.accounts import AccountState
from engine.rating import Moments, moments, rate
from engine.reference import Reference
from engine.refusals import Refusal
from engine.settings import EngineSettings
from schemas.events import Cdr
from schemas.rated import RatedCdr
from schemas.reference import PriceList, PriceRow
from schemas.times import to_us

TOP = 50
"""Destinations and clients that change most, and single calls, are told so far."""

MOST_DAYS = 31
MOST_CALLS = 20_000_000


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls are rehearsed: those that ended in the `days` before now, every one, or one in so many of them that
    `most_calls` are not exceeded."""

    days: Annotated[int, Meta(ge=1, le=MOST_DAYS)] = 7
    most_calls: Annotated[int, Meta(ge=1, le=MOST_CALLS)] = 1_000_000


class PastCall(NamedTuple):
    """A call as it was rated. The CDR asks for what its set-up asked for, where one is known."""

    cdr: Cdr
    retail_micros: int | None
    """What was charged for it."""
    wholesale_micros: int | None


class Sums(Struct):
    """Calls added up, in micro-units. `charged_…` is what the books say, `before_…` and `after_…` the same calls by the
    tables in force and by those with the version; calls that have no price there are in `unpriced_…` and in no sum."""

    calls: int = 0
    seconds: int = 0
    charged_retail_micros: int = 0
    charged_wholesale_micros: int = 0
    before_retail_micros: int = 0
    before_wholesale_micros: int = 0
    after_retail_micros: int = 0
    after_wholesale_micros: int = 0
    unpriced_before: int = 0
    unpriced_after: int = 0

    @property
    def before_margin_micros(self) -> int:
        """Revenue less cost."""
        return self.before_retail_micros - self.before_wholesale_micros

    @property
    def after_margin_micros(self) -> int:
        """Revenue less cost."""
        return self.after_retail_micros - self.after_wholesale_micros


class Group(Struct, frozen=True):
    """The calls of one destination (the prefix that priced them) or of one client."""

    name: str
    sums: Sums
    before_margin_micros: int
    after_margin_micros: int


class Losses(Struct, frozen=True):
    """Calls that cost more than they bring."""

    calls: int
    micros: int
    """How much all of them lose."""


class CallSeen(Struct, frozen=True):
    """One call that stands for others. Money in micro-units; `reason` says why it would have no price."""

    cdr_id: str
    account_id: str
    called: str
    provider_id: str | None
    started_at: str
    seconds: int
    before_margin_micros: int | None
    after_margin_micros: int | None
    reason: str | None


class Unpriced(Struct, frozen=True):
    """Calls that would have no price: the engine would deny them, and reject their CDRs."""

    reason: str
    calls: int
    new: int
    """Of them, those that have a price by the tables in force."""


class Rehearsal(Struct, frozen=True):
    """What the calls would have brought."""

    since: str
    until: str
    calls_in_period: int
    """That the version's list can touch: of accounts whose plan has it, or through its provider."""
    one_in: int
    """One call in so many was priced; the sums are of those."""
    total: Sums
    before_margin_micros: int
    after_margin_micros: int
    losing_before: Losses
    losing_after: Losses
    unpriced: tuple[Unpriced, ...]
    destinations: tuple[Group, ...]
    """Those whose margin changes most."""
    clients: tuple[Group, ...]
    losing_calls: tuple[CallSeen, ...]
    """Those that would lose most."""
    unpriced_calls: tuple[CallSeen, ...]
    seconds: float
    """How long it took."""
    calls_per_second: int


class _Priced(NamedTuple):
    """A call by some tables: what is charged on both sides, or why it can't be."""

    retail: int
    wholesale: int
    prefix: str | None
    reason: str | None

    @property
    def margin(self) -> int:
        return self.retail - self.wholesale


class Rehearser:
    """`add` calls, then ask for `result`."""

    def __init__(self, settings: EngineSettings, price_list: PriceList, before: Reference, after: Reference) -> None:
        """`before` is what is in force, `after` the same with the version in it (`price_overlay`)."""
        self._settings = settings
        self._retail = price_list.kind == "retail"
        self._before = before
        self._after = after
        self._total = Sums()
        self._destinations: dict[str, Sums] = {}
        self._clients: dict[str, Sums] = {}
        self._losing = {False: [0, 0], True: [0, 0]}
        self._unpriced: dict[str, list[int]] = {}
        self._worst: list[tuple[int, int, CallSeen]] = []
        self._without: list[CallSeen] = []
        self._states: dict[str, AccountState] = {}

    def add(self, calls: Iterable[PastCall]) -> None:
        """Prices calls by both tables."""
        for call in calls:
            cdr = call.cdr
            times = moments(cdr)
            if isinstance(times, Refusal) or cdr.account_id is None:
                continue
            before = self._priced(self._before, cdr, times)
            after = self._priced(self._after, cdr, times)
            client = self._before.accounts.get(cdr.account_id)
            destination = after.prefix if after.prefix is not None else before.prefix
            for sums in (
                self._total,
                _sums(self._destinations, cdr.called[:4] if destination is None else destination),
                _sums(self._clients, cdr.account_id if client is None else client.client_id),
            ):
                sums.calls += 1
                sums.seconds += times.billable_seconds
                sums.charged_retail_micros += call.retail_micros or 0
                sums.charged_wholesale_micros += call.wholesale_micros or 0
                sums.before_retail_micros += before.retail
                sums.before_wholesale_micros += before.wholesale
                sums.after_retail_micros += after.retail
                sums.after_wholesale_micros += after.wholesale
                sums.unpriced_before += before.reason is not None
                sums.unpriced_after += after.reason is not None
            self._note(cdr, times, before, after)

    def _priced(self, reference: Reference, cdr: Cdr, times: Moments) -> _Priced:
        account = reference.accounts.get(cdr.account_id or "")
        state = None
        if account is not None:
            state = self._states.get(account.account_id)
            if state is None:
                state = self._states[account.account_id] = AccountState(account.account_id, 0, "active")
        rated: RatedCdr | Refusal = rate(
            self._settings, reference, cdr, times, None, account, state, promised=reference
        )
        if isinstance(rated, Refusal):
            return _Priced(0, 0, None, rated.reason)
        side = rated.retail if self._retail else rated.wholesale
        return _Priced(
            0 if rated.retail is None else rated.retail.amount_micros,
            0 if rated.wholesale is None else rated.wholesale.amount_micros,
            None if side is None else side.prefix,
            None,
        )

    def _note(self, cdr: Cdr, times: Moments, before: _Priced, after: _Priced) -> None:
        for which, priced in ((False, before), (True, after)):
            if priced.margin < 0:
                self._losing[which][0] += 1
                self._losing[which][1] -= priced.margin
        if after.reason is not None:
            found = self._unpriced.setdefault(after.reason, [0, 0])
            found[0] += 1
            found[1] += before.reason is None
            if len(self._without) < TOP:
                self._without.append(_seen(cdr, times, before, after))
        elif after.margin < 0:
            entry = (-after.margin, -self._total.calls)
            if len(self._worst) < TOP:
                heapq.heappush(self._worst, (*entry, _seen(cdr, times, before, after)))
            elif entry > self._worst[0][:2]:
                heapq.heapreplace(self._worst, (*entry, _seen(cdr, times, before, after)))

    def result(self, *, since: str, until: str, calls_in_period: int, one_in: int, seconds: float) -> Rehearsal:
        """What all the calls come to."""
        return Rehearsal(
            since,
            until,
            calls_in_period,
            one_in,
            self._total,
            self._total.before_margin_micros,
            self._total.after_margin_micros,
            Losses(*self._losing[False]),
            Losses(*self._losing[True]),
            tuple([Unpriced(reason, *counts) for reason, counts in sorted(self._unpriced.items())]),
            _top(self._destinations),
            _top(self._clients),
            tuple([seen for *_, seen in sorted(self._worst, key=lambda worst: (-worst[0], -worst[1]))]),
            tuple(self._without),
            round(seconds, 3),
            round(self._total.calls / seconds) if seconds > 0 else 0,
        )


def _sums(groups: dict[str, Sums], name: str) -> Sums:
    found = groups.get(name)
    if found is None:
        found = groups[name] = Sums()
    return found


def _seen(cdr: Cdr, times: Moments, before: _Priced, after: _Priced) -> CallSeen:
    return CallSeen(
        cdr.cdr_id,
        cdr.account_id or "",
        cdr.called,
        cdr.provider_id,
        cdr.started_at,
        times.billable_seconds,
        None if before.reason is not None else before.margin,
        None if after.reason is not None else after.margin,
        after.reason,
    )


def _top(groups: dict[str, Sums]) -> tuple[Group, ...]:
    def weight(group: tuple[str, Sums]) -> tuple[int, int]:
        sums = group[1]
        return abs(sums.after_margin_micros - sums.before_margin_micros), sums.unpriced_after

    found: Sequence[tuple[str, Sums]] = heapq.nlargest(TOP, groups.items(), key=weight)
    return tuple([Group(name, sums, sums.before_margin_micros, sums.after_margin_micros) for name, sums in found])


def timeless(rows: Iterable[PriceRow], at_us: int) -> Iterator[PriceRow]:
    """The rows that hold at a moment, without their dates; of two for the same calls the one that began later.

    `rows` in order of their prefixes.
    """
    for _, same in groupby(rows, key=attrgetter("prefix")):
        held: dict[tuple[object, ...], tuple[int, PriceRow]] = {}
        for row in same:
            from_us = 0 if row.valid_from is None else to_us(row.valid_from)
            if from_us > at_us or (row.valid_to is not None and to_us(row.valid_to) <= at_us):
                continue
            key = (row.service, row.place, row.incoming_service, row.band_id, row.from_second)
            if key not in held or held[key][0] <= from_us:
                held[key] = (from_us, row)
        for _, row in held.values():
            yield (
                row if row.valid_from is None and row.valid_to is None else replace(row, valid_from=None, valid_to=None)
            )


def plans_with(reference: Reference, price_list_id: str) -> list[str]:
    """The tariff plans that sell by a list."""
    return sorted(
        name
        for name, tables in reference.plans.items()
        if any(entry.price_list_id == price_list_id for entry in tables.plan.lists)
    )

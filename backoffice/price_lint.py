"""Lint of a price list before it is published: what in it, or between it and the other lists, would go wrong in calls.

Each rule says what it found, where, and what to do. An error keeps the version from being published, a warning is to be
looked at, a note is good to know. Buying and selling are compared as the engine does it: at each prefix of either side,
in the words (service, place, incoming service) in which both prices are the ones that a call would get, by the exact
price of its first minute, before discounts of accounts.

`MOST_FINDINGS` of each rule are told one by one, those that cost most first where money is at stake; all are counted.
"""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from backoffice.price_overlay import PriceDeck, own_prices
from engine.charges import first_minute
from engine.prices import Context, Price, best
from engine.reference import Reference
from engine.rounding import fraction_text
from engine.settings import EngineSettings
from engine.tariffs import NO_END, Tariff
from schemas.money import to_text
from schemas.times import DAY_US, HOUR_US
from schemas.times import to_text as moment_text

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

MOST_FINDINGS = 1_000
STEP_US = HOUR_US // 2
"""Prices that depend on the hour are compared at each half hour of a week."""

PREFIXES_AT_ONCE = 20_000
"""After so many the progress is told."""


class Rule(NamedTuple):
    """A rule. `severity` is that of its findings, `remedy` what is to be done about them."""

    name: str
    severity: Severity
    title: str
    remedy: str


CONTRADICTION = Rule(
    "contradiction",
    "error",
    "two prices for the same calls",
    "leave the row that is right and take the other out, or end one before the other begins",
)
DUPLICATE = Rule("duplicate", "note", "the same price twice", "take one of the rows out; the calls cost the same")
UNKNOWN_SERVICE = Rule(
    "unknown_service",
    "warning",
    "a service that nothing else knows",
    "write the service as the switches name it; if it is new, nothing needs to be done",
)
UNKNOWN_PLACE = Rule(
    "unknown_place",
    "warning",
    "a place that nothing else knows",
    "write the place as accounts and providers name it; if it is new, nothing needs to be done",
)
UNKNOWN_BAND = Rule(
    "unknown_band", "error", "a band of time that is not there (any more)", "enter the band, or take it out of the rows"
)
NOT_BOUGHT = Rule(
    "sold_not_bought",
    "warning",
    "sold, but no provider has a price: such calls are denied, no_wholesale_price",
    "have the group b2b enter a wholesale price, or take the prefix out of the retail list",
)
NOT_SOLD = Rule(
    "bought_not_sold",
    "note",
    "bought, but no retail list sells it: such calls are denied, no_retail_price",
    "have marketing enter a retail price if it is to be sold",
)
NO_MORE_COVERED = Rule(
    "no_more_covered",
    "warning",
    "had a price in this list before, and has none now",
    "put the prefix back, or a shorter one that covers it; if it is to end, nothing needs to be done",
)
NO_MORE_BOUGHT = Rule(
    "no_more_bought",
    "warning",
    "is sold, and with this list nobody would have a wholesale price for it any more",
    "keep the prefix in this list until another provider has a price for it",
)
BELOW_COST = Rule(
    "below_cost",
    "warning",
    "the first minute is sold below what it costs",
    "raise the retail price, or keep the provider from the route with a lock; where the plan forbids loss, the route "
    "is left out by itself",
)
PARTLY_BOUGHT = Rule(
    "partly_bought",
    "warning",
    "sold as a whole, bought only in parts: numbers between them are denied, no_wholesale_price",
    "sell the longer prefixes that are bought, or have the group b2b enter a price for the whole",
)
BOUGHT_DEEPER = Rule(
    "bought_deeper",
    "note",
    "sold at one price, bought at several by longer prefixes",
    "look at the dearest of them; sell it by a prefix of its own if it is to cost more",
)
SOLD_DEEPER = Rule(
    "sold_deeper",
    "note",
    "bought at one price, sold at several by longer prefixes",
    "nothing needs to be done, unless the longer prefixes were meant to cost more to buy",
)
PAST = Rule("past", "note", "is over before the version comes into force", "take the rows out, or move their valid_to")

RULES: tuple[Rule, ...] = (
    CONTRADICTION,
    UNKNOWN_BAND,
    BELOW_COST,
    NOT_BOUGHT,
    PARTLY_BOUGHT,
    NO_MORE_BOUGHT,
    NO_MORE_COVERED,
    UNKNOWN_SERVICE,
    UNKNOWN_PLACE,
    DUPLICATE,
    BOUGHT_DEEPER,
    SOLD_DEEPER,
    NOT_SOLD,
    PAST,
)
"""In the order in which their findings are told."""


class Finding(Struct, frozen=True):
    """One thing that was found. `prefixes` says how many it stands for, `prefix` is one of them."""

    rule: str
    severity: Severity
    price_list_id: str
    prefix: str
    prefixes: int
    other_list_id: str | None
    """The list on the other side, where two are compared."""
    provider_id: str | None
    lines: tuple[int, ...]
    """Of the uploaded file, where they are known."""
    text: str
    remedy: str


class RuleCount(Struct, frozen=True):
    """How often a rule found something; findings beyond the first thousand are only counted."""

    rule: str
    severity: Severity
    title: str
    findings: int
    told: int


class ProviderLoss(Struct, frozen=True):
    """Prefixes that are sold below what one provider takes, by the lists on both sides."""

    provider_id: str
    wholesale_list_id: str
    retail_list_id: str
    prefixes: int
    worst_prefix: str
    worst_minute_retail: str
    """The exact price of the first minute, in units of the currency."""
    worst_minute_wholesale: str


class LintReport(Struct, frozen=True):
    """What a lint says. `findings` in the order of the rules."""

    errors: int
    warnings: int
    notes: int
    rules: tuple[RuleCount, ...]
    losses: tuple[ProviderLoss, ...]
    findings: tuple[Finding, ...]


class DoubleRow(Struct, frozen=True):
    """A row that stands for the same calls as an earlier one; `text` names both prices where they differ."""

    prefix: str
    first_line: int
    line: int
    text: str | None


class Reading(Struct, frozen=True):
    """What was noticed when the file was read. Of rows that are alike in all that tells prices apart one counts."""

    sheet: str | None = None
    rows: int = 0
    duplicates: int = 0
    contradictions: int = 0
    doubles: tuple[DoubleRow, ...] = ()
    """A thousand of them at most."""


Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and of how much. May raise to end the work."""


class Known(NamedTuple):
    """Words that are known beside this list: of services, places, and the bands that are there."""

    services: Collection[str]
    places: Collection[str]
    bands: Collection[str]


def lint(
    settings: EngineSettings,
    deck: PriceDeck,
    before: Reference,
    after: Reference,
    *,
    at_us: int,
    known: Known,
    reading: Reading | None = None,
    progress: Progress = lambda _stage, _done, _total: None,
) -> LintReport:
    """What the rules find in the deck.

    `before` is what is in force, `after` the same with the deck in it (`with_deck`), `at_us` the moment that the
    version is meant for. `reading`: what was noticed when the file was read.
    """
    work = _Lint(settings, deck, before, after, at_us, progress)
    work.read_doubles(reading or Reading())
    work.rows(known)
    work.covered_before()
    if deck.price_list.kind == "retail":
        work.selling()
    else:
        work.buying()
    return work.report()


class _Loss(NamedTuple):
    """Prices of one pair of lists below cost."""

    prefixes: int
    worst: tuple[float, str, Price, Price]
    latest: str | None
    """The prefix that was counted last."""


class _Deeper:
    """Longer prefixes of one list below a price of another: how many, and the cheapest and the dearest of them."""

    __slots__ = ("least", "longer", "most", "prefixes", "shorter")

    def __init__(self, shorter: Price, longer: Price) -> None:
        self.shorter = shorter
        self.longer = longer
        self.prefixes = 0
        self.least = self.most = longer


class _Found:
    """Findings of one rule: all are counted, the first of them kept, or the heaviest where they have a weight."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[tuple[float, int, Finding]] = []

    def add(self, finding: Callable[[], Finding], weight: float = 0.0) -> None:
        self.count += 1
        entry = (weight, -self.count)
        if len(self._kept) < MOST_FINDINGS:
            heapq.heappush(self._kept, (*entry, finding()))
        elif entry > self._kept[0][:2]:
            heapq.heapreplace(self._kept, (*entry, finding()))

    def in_order(self) -> list[Finding]:
        return [finding for _, _, finding in sorted(self._kept, key=lambda kept: (-kept[0], -kept[1]))]


class _Lint:
    def __init__(
        self,
        settings: EngineSettings,
        deck: PriceDeck,
        before: Reference,
        after: Reference,
        at_us: int,
        progress: Progress,
    ) -> None:
        self._routed = sorted(settings.routed_services)
        self._deck = deck
        self._list_id = deck.price_list.price_list_id
        self._before = before
        self._after = after
        self._at_us = at_us
        self._progress = progress
        self._found = {rule.name: _Found() for rule in RULES}
        self._losses: dict[tuple[str, str, str], _Loss] = {}
        self._compared: dict[tuple[int, int], tuple[float, int]] = {}
        self._deeper: dict[tuple[str, str, str, str], _Deeper] = {}

    def _add(
        self,
        rule: Rule,
        prefix: str,
        text: Callable[[], str],
        *,
        prefixes: int = 1,
        other_list_id: str | None = None,
        provider_id: str | None = None,
        lines: Sequence[int] = (),
        weight: float = 0.0,
    ) -> None:
        self._found[rule.name].add(
            lambda: Finding(
                rule.name,
                rule.severity,
                self._list_id,
                prefix,
                prefixes,
                other_list_id,
                provider_id,
                tuple(lines),
                text(),
                rule.remedy,
            ),
            weight,
        )

    def _through(self, stage: str, prices: Iterable[Price], total: int) -> Iterator[Price]:
        """Prices one by one, with the progress told now and then."""
        for place, price in enumerate(prices):
            if place % PREFIXES_AT_ONCE == 0:
                self._progress(stage, place, total)
            yield price

    # What stands in the list itself

    def read_doubles(self, reading: Reading) -> None:
        """Rows that were alike in all that tells prices apart."""
        for double in reading.doubles:
            lines = (double.first_line, double.line)
            if double.text is None:
                self._add(
                    DUPLICATE,
                    double.prefix,
                    lambda: "the same row stands in the file twice; once it counts",
                    lines=lines,
                )
            else:
                self._add(CONTRADICTION, double.prefix, _constant(double.text), lines=lines)
        # What the reading did not keep it has counted.
        self._found[DUPLICATE.name].count = max(reading.duplicates, self._found[DUPLICATE.name].count)
        self._found[CONTRADICTION.name].count = max(reading.contradictions, self._found[CONTRADICTION.name].count)

    def rows(self, known: Known) -> None:
        """Each price by itself, and prices of one prefix against one another."""
        words: dict[tuple[Rule, str], tuple[int, str]] = {}
        for prefix, prices in self._deck.prices.items():
            if len(prices) > 1:
                self._overlaps(prefix, prices)
            for price in prices:
                scope = price.scope
                for rule, word, there in (
                    (UNKNOWN_SERVICE, scope.service, known.services),
                    (UNKNOWN_SERVICE, scope.incoming_service, known.services),
                    (UNKNOWN_PLACE, scope.place, known.places),
                ):
                    if word is not None and word not in there:
                        _count(words, rule, word, prefix)
                if price.tariff.banded:
                    for rate in price.tariff.rates:
                        if rate.band_id is not None and rate.band_id not in known.bands:
                            _count(words, UNKNOWN_BAND, rate.band_id, prefix)
                if scope.until_us <= self._at_us:
                    self._add(PAST, prefix, _constant(f"ended on {moment_text(scope.until_us)}"))
        for (rule, word), (count, first) in words.items():
            near = {UNKNOWN_PLACE: known.places, UNKNOWN_BAND: known.bands}.get(rule, known.services)
            close = get_close_matches(word, sorted(near), n=1)
            meant = f"; was {close[0]!r} meant?" if close else ""
            self._add(rule, first, _constant(f"{rule.title}: {word!r}{meant}"), prefixes=count)

    def _overlaps(self, prefix: str, prices: Sequence[Price]) -> None:
        """Prices of one prefix for the same calls, at the same time."""
        for place, price in enumerate(prices):
            for other in prices[place + 1 :]:
                one, two = price.scope, other.scope
                alike = (one.service, one.place, one.incoming_service) == (two.service, two.place, two.incoming_service)
                if not alike or one.row_from_us >= two.row_until_us or two.row_from_us >= one.row_until_us:
                    continue
                span = (
                    f"from {_moment(max(one.row_from_us, two.row_from_us))} "
                    f"to {_moment(min(one.row_until_us, two.row_until_us))}"
                )
                if price.tariff is other.tariff:
                    self._add(DUPLICATE, prefix, _constant(f"two rows say the same {span}"))
                else:
                    self._add(
                        CONTRADICTION,
                        prefix,
                        _constant(
                            f"{_price(price)} and {_price(other)}, both {span}: the one that began later would count"
                        ),
                    )

    def covered_before(self) -> None:
        """What the list had before, and neither it nor a shorter prefix of it has now."""
        there = own_prices(self._before, self._list_id)
        remaining = sorted(self._deck.prices)
        own = (price for prices in there.values() for price in prices)
        for price in self._through("what the list had before", own, len(there)):
            if not self._current(price):
                continue
            if lacking := self._lacking(self._own(price.prefix), price):
                rest = "; longer prefixes of it are still there" if _any_longer(remaining, price.prefix) else ""
                self._add(
                    NO_MORE_COVERED,
                    price.prefix,
                    _constant(f"{self._as(lacking)}it cost {_price(price)} so far{rest}"),
                )

    def _own(self, prefix: str) -> Iterator[Price]:
        """What the deck has for numbers that begin with the prefix."""
        prices = self._deck.prices
        for length in range(len(prefix), -1, -1):
            yield from prices.get(prefix[:length], ())

    def _lacking(self, candidates: Iterable[Price], price: Price) -> Sequence[str]:
        """The services that this price is for and none of the candidates is. Where one of them names no place or
        incoming service, the other may name any."""
        wanted = self._routed if price.scope.service is None else [price.scope.service]
        lacking = set(wanted)
        for other in candidates:
            if _meet(price, other) and self._together(price, other):
                if other.scope.service is None:
                    return ()
                lacking.discard(other.scope.service)
                if not lacking:
                    return ()
        return [service for service in wanted if service in lacking]

    def _as(self, services: Sequence[str]) -> str:
        """Which service is meant, where it is not all of them."""
        return "" if len(services) == len(self._routed) else f"as {' and '.join(services)}: "

    def _current(self, price: Price) -> bool:
        """Whether it holds at the moment of the lint, or will."""
        return price.scope.until_us > self._at_us

    def _together(self, one: Price, two: Price) -> bool:
        """Whether there is a moment, from that of the lint on, at which both hold."""
        begin_us = max(self._at_us, one.scope.from_us, two.scope.from_us)
        return begin_us < min(one.scope.until_us, two.scope.until_us)

    # Against the other side

    def selling(self) -> None:
        """A retail list against what all providers take."""
        bought = self._after.wholesale.index
        selling = self._after.retail[self._list_id].index
        provider_id = self._deck.price_list.provider_id
        deck = self._deck.prices
        unbought: list[tuple[Price, Sequence[str]]] = []
        own = (price for prices in deck.values() for price in prices)
        for price in self._through("what is sold", own, len(deck)):
            if not self._leaves(price):
                continue
            ways = bought.find(price.prefix)
            if provider_id is not None:
                ways = tuple([way for way in ways if way.terms.provider_id == provider_id])
            if lacking := self._lacking(ways, price):
                unbought.append((price, lacking))
            sold = selling.find(price.prefix)
            for way in ways:
                self._compare(price, sold, way, ways, price.prefix)
        for way in self._through("what is bought", bought.items(), len(bought)):
            if way.prefix in deck or provider_id not in (None, way.terms.provider_id):
                continue
            ways = bought.find(way.prefix)
            sold = selling.find(way.prefix)
            for price in sold:
                self._compare(price, sold, way, ways, way.prefix)
        below: dict[str, list[_Deeper]] = {}
        for (name, _, prefix, _), deeper in self._deeper.items():
            if name == BOUGHT_DEEPER.name:
                below.setdefault(prefix, []).append(deeper)
        for price, lacking in unbought:
            parts = below.get(price.prefix, [])
            rule = PARTLY_BOUGHT if parts else NOT_BOUGHT
            text = f"{self._as(lacking)}sold for {_price(price)}"
            if parts:
                listed = ", ".join(f"{part.longer.terms.price_list_id} {part.prefixes}" for part in parts)
                text += f"; longer prefixes are bought ({listed}), such as {parts[0].longer.prefix}"
            self._add(rule, price.prefix, _constant(text))
        self._tell_deeper()

    def buying(self) -> None:
        """A provider's list against what is sold, list by list."""
        provider_id = self._deck.price_list.provider_id
        bought, before = self._after.wholesale.index, self._before.wholesale.index
        deck = self._deck.prices
        lists = sorted({entry.price_list_id for tables in self._after.plans.values() for entry in tables.plan.lists})
        selling = [
            self._after.retail[name].index
            for name in lists
            if self._after.price_lists[name].provider_id in (None, provider_id)
        ]
        own = (price for prices in deck.values() for price in prices)
        for way in self._through("what is bought", own, len(deck)):
            if not self._leaves(way) or not self._current(way):
                continue
            ways = bought.find(way.prefix)
            lacking: Sequence[str] = self._routed
            for index in selling:
                sold = index.find(way.prefix)
                if lacking:
                    mine = self._lacking(sold, way)
                    lacking = [service for service in lacking if service in mine]
                for price in sold:
                    self._compare(price, sold, way, ways, way.prefix)
            if lacking:
                self._add(NOT_SOLD, way.prefix, _constant(f"{self._as(lacking)}bought for {_price(way)}"))
        for index in selling:
            for price in self._through("what is sold", index.items(), len(index)):
                if not self._leaves(price):
                    continue
                ways = bought.find(price.prefix)
                if price.prefix not in deck:
                    sold = index.find(price.prefix)
                    for way in ways:
                        if way.terms.price_list_id == self._list_id:
                            self._compare(price, sold, way, ways, price.prefix)
                lacking = self._lacking(ways, price)
                if lacking and len(self._lacking(before.find(price.prefix), price)) < len(lacking):
                    list_id = price.terms.price_list_id
                    self._add(
                        NO_MORE_BOUGHT,
                        price.prefix,
                        _constant(f"{self._as(lacking)}sold for {_price(price)} by {list_id}"),
                        other_list_id=list_id,
                    )
        self._tell_deeper()

    def _leaves(self, price: Price) -> bool:
        """Whether calls that it is for leave through a provider."""
        return price.scope.service is None or price.scope.service in self._routed

    def _compare(self, price: Price, sold: Sequence[Price], way: Price, ways: Sequence[Price], prefix: str) -> None:
        """A price of each side at a prefix, if there are calls that are sold at the one and bought at the other."""
        if not self._wins(price, sold, way, ways):
            return
        if len(price.prefix) != len(way.prefix):
            self._note_depth(price, way)
        loss, at_us = self._loss(price, way)
        if loss <= 0:
            return
        provider_id = way.terms.provider_id or ""
        bought_by, sold_by = way.terms.price_list_id, price.terms.price_list_id
        there = self._losses.get((provider_id, bought_by, sold_by))
        worst = (loss, prefix, price, way)
        if there is None:
            there = _Loss(0, worst, None)
        # A prefix that is sold for several services is compared once for each of them, one after the other.
        self._losses[provider_id, bought_by, sold_by] = _Loss(
            there.prefixes + (prefix != there.latest), max(there.worst, worst, key=_lost), prefix
        )

        def text() -> str:
            hour = f" at {moment_text(at_us)}" if price.tariff.banded or way.tariff.banded else ""
            return (
                f"{_words_of(price, way)}a minute to {prefix or 'any number'} is sold for {_minute(price, at_us)} "
                f"({sold_by}, prefix {price.prefix or 'any'}) and bought for {_minute(way, at_us)} from "
                f"{provider_id} ({bought_by}, prefix {way.prefix or 'any'}): {to_text(round(loss))} lost{hour}"
            )

        self._add(
            BELOW_COST,
            prefix,
            text,
            other_list_id=bought_by if sold_by == self._list_id else sold_by,
            provider_id=provider_id,
            weight=loss,
        )

    def _wins(self, price: Price, sold: Sequence[Price], way: Price, ways: Sequence[Price]) -> bool:
        """Whether there are words and a moment in which a call would be sold at the one price and bought at the other.

        The words that both name are the fewest in which both hold, so the fewest others can win over them.
        """
        service = price.scope.service or way.scope.service
        if service is not None and service not in self._routed:
            return False
        if not _meet(price, way) or not self._together(price, way):
            return False
        mine = [other for other in ways if other.terms.provider_id == way.terms.provider_id]
        if len(sold) == 1 and len(mine) == 1:
            return True
        one, two = price.scope, way.scope
        at_us = max(self._at_us, one.from_us, two.from_us)
        for asked in self._routed if service is None else (service,):
            context = Context(asked, one.place or two.place, one.incoming_service or two.incoming_service)
            for moment_us in _moments(at_us, price.tariff, way.tariff):
                if best(sold, context, moment_us) is price and best(mine, context, moment_us) is way:
                    return True
        return False

    def _loss(self, price: Price, way: Price) -> tuple[float, int]:
        """What the first minute loses at the worst hour, in micro-units (0: nothing), and that hour."""
        key = (id(price.tariff), id(way.tariff))
        found = self._compared.get(key)
        if found is None:
            at_us = max(self._at_us, price.scope.from_us, way.scope.from_us)
            found = (0.0, at_us)
            for moment_us in _moments(at_us, price.tariff, way.tariff):
                if price.tariff.variant_at(moment_us)[0] is None or way.tariff.variant_at(moment_us)[0] is None:
                    continue
                sold, sold_in = first_minute(price, moment_us)
                cost, cost_in = first_minute(way, moment_us)
                # Exact: products are compared, never quotients.
                difference = cost * sold_in - sold * cost_in
                if difference > 0 and (loss := difference / (sold_in * cost_in)) > found[0]:
                    found = (loss, moment_us)
            self._compared[key] = found
        return found

    def _note_depth(self, price: Price, way: Price) -> None:
        rule, shorter, longer = BOUGHT_DEEPER, price, way
        if len(way.prefix) < len(price.prefix):
            rule, shorter, longer = SOLD_DEEPER, way, price
        key = (rule.name, shorter.terms.price_list_id, shorter.prefix, longer.terms.price_list_id)
        deeper = self._deeper.get(key)
        if deeper is None:
            deeper = self._deeper[key] = _Deeper(shorter, longer)
        deeper.prefixes += 1
        deeper.least = min(deeper.least, longer, key=_rate)
        deeper.most = max(deeper.most, longer, key=_rate)

    def _tell_deeper(self) -> None:
        for (name, _, prefix, list_id), deeper in self._deeper.items():
            rule, verbs = (
                (BOUGHT_DEEPER, ("sold", "bought")) if name == BOUGHT_DEEPER.name else (SOLD_DEEPER, ("bought", "sold"))
            )
            shorter = deeper.shorter
            text = (
                f"{verbs[0]} for {_price(shorter)} by {shorter.terms.price_list_id}, {verbs[1]} by {list_id} with "
                f"{deeper.prefixes} longer prefixes such as {deeper.longer.prefix}, from {_price(deeper.least)} to "
                f"{_price(deeper.most)}"
            )
            other = list_id if shorter.terms.price_list_id == self._list_id else shorter.terms.price_list_id
            way = deeper.longer if rule is BOUGHT_DEEPER else shorter
            self._add(
                rule,
                prefix,
                _constant(text),
                prefixes=deeper.prefixes,
                other_list_id=other,
                provider_id=way.terms.provider_id,
            )

    def report(self) -> LintReport:
        """What was found, in the order of the rules."""
        counts = []
        findings: list[Finding] = []
        totals = dict.fromkeys(SEVERITIES, 0)
        for rule in RULES:
            found = self._found[rule.name]
            if not found.count:
                continue
            told = found.in_order()
            findings += told
            totals[rule.severity] += found.count
            counts.append(RuleCount(rule.name, rule.severity, rule.title, found.count, len(told)))
        losses = []
        for (provider_id, bought, sold), loss in sorted(self._losses.items(), key=lambda item: -item[1].worst[0]):
            _, prefix, price, way = loss.worst
            at_us = self._loss(price, way)[1]
            losses.append(
                ProviderLoss(
                    provider_id, bought, sold, loss.prefixes, prefix, _minute(price, at_us), _minute(way, at_us)
                )
            )
        return LintReport(
            totals["error"], totals["warning"], totals["note"], tuple(counts), tuple(losses), tuple(findings)
        )


def _meet(one: Price, two: Price) -> bool:
    """Whether there are words of a call that both prices are for."""
    mine, other = one.scope, two.scope
    return (
        (mine.service is None or other.service is None or mine.service == other.service)
        and (mine.place is None or other.place is None or mine.place == other.place)
        and (
            mine.incoming_service is None
            or other.incoming_service is None
            or mine.incoming_service == other.incoming_service
        )
    )


def _words_of(one: Price, two: Price) -> str:
    """In which words both prices meet, where one of them names any: two losses at a prefix differ in nothing else."""
    mine, other = one.scope, two.scope
    service = mine.service or other.service
    place = mine.place or other.place
    incoming = mine.incoming_service or other.incoming_service
    words = [f"as {service}"] if service else []
    words += [f"at the place {place}"] if place else []
    words += [f"coming in by {incoming}"] if incoming else []
    return f"{', '.join(words)}: " if words else ""


def _moments(at_us: int, *tariffs: Tariff) -> Iterable[int]:
    """The moment, or each half hour of the week behind it where a price depends on the hour."""
    if any(tariff.banded for tariff in tariffs):
        return range(at_us, at_us + 7 * DAY_US, STEP_US)
    return (at_us,)


def _any_longer(ordered: Sequence[str], prefix: str) -> bool:
    """Whether one of the prefixes, which are in order, begins with this one and is longer."""
    place = bisect_right(ordered, prefix)
    return place < len(ordered) and ordered[place].startswith(prefix)


def _count(words: dict[tuple[Rule, str], tuple[int, str]], rule: Rule, word: str, prefix: str) -> None:
    count, first = words.get((rule, word), (0, prefix))
    words[rule, word] = (count + 1, first)


def _lost(worst: tuple[float, str, Price, Price]) -> float:
    return worst[0]


def _rate(price: Price) -> float:
    """For putting prices in order, and for nothing else."""
    rate = price.tariff.rates[0]
    return rate.price_micros / rate.per_seconds + rate.connect_fee_micros / 60


def _price(price: Price) -> str:
    """The first tier in words."""
    rate = price.tariff.rates[0]
    fee = f" + {to_text(rate.connect_fee_micros)}" if rate.connect_fee_micros else ""
    more = " and other tiers" if len(price.tariff.rates) > 1 else ""
    return f"{to_text(rate.price_micros)}/{rate.per_seconds} s{fee}{more}"


def _minute(price: Price, at_us: int) -> str:
    return fraction_text(*first_minute(price, at_us))


def _moment(us: int) -> str:
    if us <= 0:
        return "the beginning"
    return "for ever" if us >= NO_END else moment_text(us)


def _constant(text: str) -> Callable[[], str]:
    return lambda: text

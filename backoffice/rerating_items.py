"""Calls of the past rated anew, compared with what they are charged, and added up.

Pure: a rated CDR of the record and tables come in, items and sums go out. What a call is charged is what the latest run
said that was posted and not taken back, else its rated CDR. The way of a run stands in `rerating.py`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from backoffice.books import Transfer, of_purchase, of_resale
from backoffice.explain import cdr_of
from engine.again import rate_under
from engine.reference import Reference
from engine.refusals import Refusal
from engine.settings import EngineSettings
from schemas.decisions import CallDecision
from schemas.events import CallAttempt
from schemas.rated import Charge, RatedCdr
from schemas.reference import Account
from schemas.times import to_us

Plans = Literal["then", "by_tables"]
Side = Literal["retail", "wholesale"]

NO_RECORD = "no_record"
"""A problem of this module's own: what the call asked for at its set-up is not in the record."""

NO_ACCOUNT = "no_account"
"""… and this one: how the account was at the set-up is not."""


# -- sums -------------------------------------------------------------------------------------------------------------


class ListSum(Struct, frozen=True):
    """What one price list's share of the difference is, in micro-units: calls that it priced, or prices now."""

    side: Side
    price_list_id: str
    calls: int
    old_micros: int
    new_micros: int


class Problem(Struct, frozen=True):
    """Calls that can't be rated anew; they stay as they are."""

    reason: str
    calls: int


class Sums(Struct, frozen=True):
    """Charges of some calls, in micro-units; margin is retail less wholesale."""

    old_retail_micros: int = 0
    new_retail_micros: int = 0
    old_wholesale_micros: int = 0
    new_wholesale_micros: int = 0

    @property
    def old_margin_micros(self) -> int:
        """As it is."""
        return self.old_retail_micros - self.old_wholesale_micros

    @property
    def new_margin_micros(self) -> int:
        """As it will be."""
        return self.new_retail_micros - self.new_wholesale_micros

    def plus(self, one: "Item") -> "Sums":
        """With one more call."""
        return Sums(
            self.old_retail_micros + (one.old_retail_micros or 0),
            self.new_retail_micros + (one.new_retail_micros or 0),
            self.old_wholesale_micros + (one.old_wholesale_micros or 0),
            self.new_wholesale_micros + (one.new_wholesale_micros or 0),
        )


class Summary(Struct, frozen=True):
    """What a preview came to: calls looked at, calls that differ (only these are in the sums), and the sums."""

    tables_version: int
    """Of the prices that were taken; 0: tables in force that are no published version."""
    cdrs: int
    differing: int
    accounts: int
    total: Sums
    lists: tuple[ListSum, ...]
    """The greatest differences first."""
    problems: tuple[Problem, ...]


# -- calls ------------------------------------------------------------------------------------------------------------


class Charges(Struct, frozen=True):
    """What a call is charged: sold, and bought."""

    retail: Charge | None
    wholesale: Charge | None


class PastCdr(NamedTuple):
    """A rated CDR of the record with all that its rating asks for."""

    rated: RatedCdr
    value: bytes
    """As it was published."""
    copy: int
    attempt: CallAttempt | None
    first: CallDecision | None
    """The decision on the attempt."""
    account: Account | None
    """As it was at the set-up."""
    corrects: int | None
    """The run that corrected it last, and is not taken back."""
    corrected: Charges | None
    """What that run charged."""


class Item(NamedTuple):
    """A call whose charges differ, or that has a problem; then there are no new charges."""

    account_id: str
    """Empty: nobody's."""
    ended_us: int
    cdr_id: str
    copy: int
    service: str
    called: str
    provider_id: str | None
    billable_seconds: int
    cdr_hash: bytes
    corrects: int | None
    old: Charges
    new: Charges | None
    problem: str | None
    detail: str | None

    @property
    def old_retail_micros(self) -> int | None:
        """What the client is charged."""
        return _micros(self.old.retail)

    @property
    def old_wholesale_micros(self) -> int | None:
        """What the provider is paid."""
        return _micros(self.old.wholesale)

    @property
    def new_retail_micros(self) -> int | None:
        """What the client will be charged."""
        return None if self.new is None else _micros(self.new.retail)

    @property
    def new_wholesale_micros(self) -> int | None:
        """What the provider will be paid."""
        return None if self.new is None else _micros(self.new.wholesale)


def _micros(charge: Charge | None) -> int | None:
    return None if charge is None else charge.amount_micros


# -- rating anew ------------------------------------------------------------------------------------------------------


def compare(
    settings: EngineSettings, reference: Reference, past: PastCdr, *, plans: Plans
) -> tuple[Item | None, set[str]]:
    """The item of a call, None where nothing differs; and the price lists that it is or would be priced by."""
    rated = past.rated
    old = Charges(rated.retail, rated.wholesale) if past.corrected is None else past.corrected
    new, problem, detail = _anew(settings, reference, past, plans)
    lists = {
        charge.price_list_id
        for of in (old, new)
        if of is not None
        for charge in (of.retail, of.wholesale)
        if charge is not None
    }
    if new is not None and _amounts(old) == _amounts(new):
        return None, lists
    item = Item(
        rated.account_id or "",
        to_us(rated.ended_at),
        rated.cdr_id,
        past.copy,
        rated.service,
        rated.called,
        rated.provider_id,
        rated.billable_seconds,
        hashlib.sha256(past.value).digest(),
        past.corrects,
        old,
        new,
        problem,
        detail,
    )
    return item, lists


def _amounts(charges: Charges) -> tuple[int, int]:
    return _micros(charges.retail) or 0, _micros(charges.wholesale) or 0


def _anew(
    settings: EngineSettings, reference: Reference, past: PastCdr, plans: Plans
) -> tuple[Charges | None, str | None, str | None]:
    rated = past.rated
    if rated.no_attempt is not True and (past.attempt is None or past.first is None):
        return None, NO_RECORD, "its attempt and the decision on it are not in the record"
    account = None
    if rated.account_id is not None:
        account = past.account if plans == "then" else reference.accounts.get(rated.account_id)
        if account is None and plans == "then":
            return (
                None,
                NO_ACCOUNT,
                f"what account {rated.account_id} was under version {rated.reference_version} is not in the record; "
                "take the plans of the tables",
            )
    made = rate_under(settings, reference, cdr_of(rated), rated, account, past.attempt, past.first)
    if isinstance(made, Refusal):
        return None, made.reason, made.detail
    return Charges(made.retail, made.wholesale), None, None


class Fingerprint:
    """What a preview is known by: the calls of its items in their order, with what each was charged then."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(
        self,
        cdr_id: str,
        ended_us: int,
        copy: int,
        cdr_hash: bytes,
        corrects: int | None,
        retail_micros: int | None,
        wholesale_micros: int | None,
    ) -> None:
        """One more call."""
        parts = (cdr_id, ended_us, copy, cdr_hash.hex(), corrects, retail_micros, wholesale_micros)
        self._hash.update(repr(parts).encode())

    def digest(self) -> bytes:
        """Of all calls so far."""
        return self._hash.digest()


class Tally:
    """Adds up the items of a preview as they come."""

    def __init__(self) -> None:
        self.differing = 0
        self.accounts: dict[str, tuple[int, Sums]] = {}
        """Number of calls and sums by account."""
        self._total = Sums()
        self._lists: dict[tuple[Side, str], tuple[int, int, int]] = {}
        self._problems: dict[str, int] = {}
        self._fingerprint = Fingerprint()

    def add(self, items: Iterable[Item]) -> None:
        """In the order of their places."""
        for one in items:
            if one.new is None:
                reason = one.problem or ""
                self._problems[reason] = self._problems.get(reason, 0) + 1
                continue
            self.differing += 1
            self._total = self._total.plus(one)
            calls, sums = self.accounts.get(one.account_id, (0, Sums()))
            self.accounts[one.account_id] = (calls + 1, sums.plus(one))
            self._add_lists("retail", one.old.retail, one.new.retail)
            self._add_lists("wholesale", one.old.wholesale, one.new.wholesale)
            self._fingerprint.add(
                one.cdr_id,
                one.ended_us,
                one.copy,
                one.cdr_hash,
                one.corrects,
                one.old_retail_micros,
                one.old_wholesale_micros,
            )

    def _add_lists(self, side: Side, old: Charge | None, new: Charge | None) -> None:
        for name in {charge.price_list_id for charge in (old, new) if charge is not None}:
            calls, before, after = self._lists.get((side, name), (0, 0, 0))
            self._lists[side, name] = (
                calls + 1,
                before + (old.amount_micros if old is not None and old.price_list_id == name else 0),
                after + (new.amount_micros if new is not None and new.price_list_id == name else 0),
            )

    def fingerprint(self) -> bytes:
        """Of the calls that differ."""
        return self._fingerprint.digest()

    def summary(self, *, cdrs: int, tables_version: int) -> Summary:
        """What all of it comes to."""
        lists = [ListSum(side, name, *sums) for (side, name), sums in self._lists.items()]
        lists.sort(key=lambda one: (-abs(one.new_micros - one.old_micros), one.side, one.price_list_id))
        return Summary(
            tables_version,
            cdrs,
            self.differing,
            len(self.accounts),
            self._total,
            tuple(lists),
            tuple([Problem(reason, calls) for reason, calls in sorted(self._problems.items())]),
        )


# -- the side of revenue and cost -------------------------------------------------------------------------------------


class Share(NamedTuple):
    """What a run changes for one account's calls of a service through a provider (None: through none)."""

    service: str
    provider_id: str | None
    retail_more_micros: int
    wholesale_more_micros: int


def postings(shares: Sequence[Share], *, back: bool) -> list[Transfer]:
    """What an account's correction is on the side of revenue and cost; `back`: taken back. One for each pair of
    accounts of the ledger; none where nothing moves."""
    sign = -1 if back else 1
    resold: dict[str, int] = {}
    bought: dict[tuple[str, str], int] = {}
    for one in shares:
        resold[one.service] = resold.get(one.service, 0) + sign * one.retail_more_micros
        if one.provider_id is not None:
            key = (one.provider_id, one.service)
            bought[key] = bought.get(key, 0) + sign * one.wholesale_more_micros
        else:
            assert one.wholesale_more_micros == 0, "nobody is paid for a call through no provider"
    made = [of_resale(service, more) for service, more in sorted(resold.items())]
    made += [of_purchase(provider, service, more) for (provider, service), more in sorted(bought.items())]
    return [transfer for transfer in made if transfer is not None]

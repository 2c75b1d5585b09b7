"""Locks: set, changed, lifted; each with a reason, and with a history that stays for ever (§2.2).

A lock bans a prefix or a whole number: on one account or for everyone, through one provider or any. Its author or a
manager may change or lift it, nobody else; nothing is ever deleted. The use cases here are the office's side of that:
they check what is sent and who sends it, and say in words what is wrong. The record behind the port enforces the same.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Literal, Protocol

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from backoffice.access import Asker
from backoffice.office import Trail, check_id
from backoffice.refusals import FieldProblem, InTheWay, NotAllowed, NotThere, Unfit
from backoffice.words import Id, Moment, Reason, Text
from engine.decisions import is_number
from engine.settings import EngineSettings
from schemas.decisions import LockFound
from schemas.reference import Lock
from schemas.times import from_datetime, to_text, to_us

Kind = Literal["prefix", "number"]
Scope = Literal["account", "global"]
State = Literal["in_force", "lifted", "all"]

Entered = Annotated[
    str,
    Meta(min_length=1, max_length=40, examples=["381", "+381 11 411-20-60"]),
]
"""Digits as people type them: with +, spaces, brackets, dashes."""

E164 = Callable[[str], str]
"""Makes E.164 digits of a number that a person typed, where it knows how (D31)."""

LIFTED_BY_ITSELF = "its time was over"
"""Why a lock ends that was set until a moment."""

SYSTEM = "tollgate"
"""Who lifts such a lock."""


class _Sent(Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent: strict about its fields."""


class LockSent(_Sent, frozen=True, kw_only=True):
    """A lock to be set. Its author is whoever sets it."""

    kind: Kind = "prefix"
    digits: Entered
    """A mask in E.164: `38`, `+381`, `3811XXX`. Of a whole number as it is dialled, too: `8 (495) 200-02-00`."""
    account_id: Id | None = None
    """Left out, for everyone."""
    provider_id: Id | None = None
    """Left out, through whomever."""
    reason: Reason
    """Why calls there are banned: support reads it."""
    ends_at: Moment | None = None
    """When it is to be lifted by itself."""
    lock_id: Id | None = None
    """An id of one's own."""


class LockChange(_Sent, frozen=True, kw_only=True):
    """What is to be different; what is left out stays. The author and the date stay in any case."""

    reason: Reason
    """Why it is changed."""
    kind: Kind | UnsetType = UNSET
    digits: Entered | UnsetType = UNSET
    account_id: Id | UnsetType | None = UNSET
    """Null: for everyone."""
    provider_id: Id | UnsetType | None = UNSET
    """Null: through whomever."""
    new_reason: Reason | UnsetType = UNSET
    """Why calls there are banned."""
    ends_at: Moment | UnsetType | None = UNSET
    """Null: it stays until it is lifted."""


class LiftSent(_Sent, frozen=True, kw_only=True):
    """Why a lock is lifted."""

    reason: Reason


class QuestionSent(_Sent, frozen=True, kw_only=True):
    """What a lock's author is asked: why it is there, or whether it can go."""

    question: Text


class RehearsalSent(_Sent, frozen=True, kw_only=True):
    """A lock that is not set yet, and the past days whose calls are asked."""

    kind: Kind = "prefix"
    digits: Entered
    account_id: Id | None = None
    provider_id: Id | None = None
    days: Annotated[int, Meta(ge=1, le=366, examples=[7])] = 7
    limit: Annotated[int, Meta(ge=1, le=1_000, description="How many clients at most.")] = 100


class OfficeLock(Struct, frozen=True):
    """A lock as the record has it. `reason` is why it is there, `change_reason` why it was last changed."""

    lock_id: str
    kind: Kind
    digits: str
    account_id: str | None
    """Null: for everyone (global)."""
    provider_id: str | None
    """Null: through whomever."""
    author: str
    reason: str
    created_at: str
    ends_at: str | None
    lifted_at: str | None
    """Since when it denies nothing; null: it is in force."""
    lifted_by: str | None
    lift_reason: str | None
    revision: int
    changed_at: str
    changed_by: str
    change_reason: str

    @property
    def scope(self) -> Scope:
        """Whom it is on."""
        return "global" if self.account_id is None else "account"

    def record(self) -> Lock:
        """As the engine takes it."""
        return Lock(
            self.lock_id,
            self.kind,
            self.digits,
            self.account_id,
            self.provider_id,
            self.author,
            self.reason,
            self.created_at,
        )


class Colleague(Struct, frozen=True):
    """A user as others see him or her: how to reach whoever set a lock."""

    name: str
    full_name: str
    role: str
    email: str | None
    phone: str | None
    enabled: bool


class Question(Struct, frozen=True):
    """A question about a lock that went out as a letter."""

    lock_id: str
    letter_id: int
    to: tuple[str, ...]
    """Users whom it went to: the author, else the managers."""


class HistoryEntry(Struct, frozen=True):
    """One change of a lock, and the lock as it was then («История записи»)."""

    revision: int
    action: Literal["set", "changed", "lifted"]
    at: str
    actor: str
    acted_as: str | None
    """In which role; null where that was not noted."""
    why: str
    changed: tuple[str, ...]
    """Names of the fields that differ from the entry before."""
    kind: Kind
    digits: str
    account_id: str | None
    provider_id: str | None
    author: str
    reason: str
    created_at: str
    ends_at: str | None
    lifted_at: str | None


class CoveringLock(Struct, frozen=True):
    """A lock that a check has found. The first fields are as a decision names a lock."""

    lock_id: str
    digits: str
    kind: Kind
    scope: Scope
    provider_id: str | None
    author: str
    created_at: str
    why: str
    ask: str
    """Whom to ask why, and how."""
    deciding: bool
    """Whether it is the one that the call is denied by."""
    in_force: bool
    """Now; it may have been lifted since the moment that was asked about."""
    ends_at: str | None
    provider_name: str | None
    author_contact: Colleague | None
    """Null: the author is no user here."""
    history: tuple[HistoryEntry, ...]


class LockAnswer(Struct, frozen=True):
    """The answer to a lock check: see `lock_check.LockCheck`."""

    number: str
    account_id: str | None
    at: str
    """The moment that was asked about."""
    service: str
    locks: tuple[CoveringLock, ...]
    """The account's own first, then those for everyone."""
    deciding: LockFound | None
    """The one that the call is denied by; null: no lock denies it."""
    full_ban: bool
    taken_out: tuple[str, ...]
    """Providers that locks take out."""
    left: tuple[str, ...]
    """Providers that could still carry the call, cheapest first."""
    emergency: bool
    verdict: str
    longer: tuple[LockFound, ...]
    """Locks on longer digits, at most a hundred: where a direction was asked about, they ban a part of it."""
    longer_total: int
    """How many of them there are."""


class LockFilter(Struct, frozen=True):
    """Which locks; all conditions together."""

    state: State = "in_force"
    scope: Scope | None = None
    account_id: str | None = None
    provider_id: str | None = None
    author: str | None = None
    begins_with: str | None = None
    """Masks that begin so."""
    covering: str | None = None
    """Masks that cover this number."""
    text: str | None = None
    """Words of the reason."""
    as_of: datetime | None = None
    """Locks as they were at this moment, which has passed; now if left out."""


class ClientEffect(Struct, frozen=True):
    """What a lock would have done to a client's calls. Money is in micro-units, as it was charged.

    `stopped`: the call would have been denied. `rerouted`: it went through the lock's provider, and another one was
    left. A call that has not ended, or had no CDR, counts with no seconds and no money.
    """

    client_id: str | None
    """Null: of accounts that the office does not know."""
    client_name: str | None
    stopped_calls: int
    stopped_seconds: int
    lost_revenue_micros: int
    """Retail charges of the calls that would have been stopped."""
    saved_cost_micros: int
    """Wholesale charges of the same calls."""
    rerouted_calls: int
    rerouted_seconds: int


class Rehearsal(Struct, frozen=True):
    """What a lock would have done to the calls of the last days, if it had been in force: clients by lost revenue."""

    kind: Kind
    digits: str
    """In E.164, as they would be saved."""
    account_id: str | None
    provider_id: str | None
    since: str
    until: str
    same_as: str | None
    """A lock in force that bans the very same: another one can't be set."""
    covered_by: tuple[str, ...]
    """Locks in force that ban all of it already."""
    clients_affected: int
    stopped_calls: int
    stopped_seconds: int
    lost_revenue_micros: int
    saved_cost_micros: int
    rerouted_calls: int
    rerouted_seconds: int
    untouched_calls: int
    """Allowed calls to these numbers that would have gone as they went: through another provider."""
    unasked_calls: int
    """Calls to these numbers that a switch carried without a permission: no lock stops those."""
    clients: tuple[ClientEffect, ...]


class Effects(Struct, frozen=True):
    """What the record knows of past calls, for a rehearsal."""

    clients: tuple[ClientEffect, ...]
    total: ClientEffect
    clients_affected: int
    untouched_calls: int
    unasked_calls: int


class Looks(Protocol):
    """What the record knows of locks and of what they refer to."""

    async def lock(self, lock_id: str) -> OfficeLock | None: ...
    async def beside(self, digits: str) -> Sequence[OfficeLock]:
        """Locks in force whose digits are these or begin them, the oldest first."""
        ...

    async def has_account(self, account_id: str) -> bool: ...
    async def has_provider(self, provider_id: str) -> bool:
        """Whether there is such a provider, not removed."""
        ...


class Locks(Looks, Protocol):
    """What the use cases need of the record, in the transaction of their change.

    What is written is written by the record's own functions, which check once more who acts. Their `lock` is as it is
    to be; they raise NotAllowed, InTheWay.
    """

    async def set(self, lock: OfficeLock) -> OfficeLock: ...
    async def change(self, lock: OfficeLock) -> OfficeLock: ...
    async def lift(self, lock: OfficeLock, reason: str) -> OfficeLock: ...
    async def end_due(self, actor: str, reason: str) -> Sequence[OfficeLock]:
        """Lifts those whose time is over; as they are now."""
        ...


class Letters(Protocol):
    """How colleagues are written to."""

    async def managers(self) -> Sequence[Colleague]:
        """All that are enabled and have an e-mail address."""
        ...

    async def colleague(self, name: str) -> Colleague | None: ...
    async def write(self, recipient: str, copies: Sequence[str], subject: str, body: str, about: OfficeLock) -> int:
        """The letter's id."""
        ...


class Traffic(Protocol):
    """What the record knows of past calls."""

    async def effects(
        self,
        kind: Kind,
        digits: str,
        account_id: str | None,
        provider_id: str | None,
        services: Sequence[str],
        since: datetime,
        until: datetime,
        limit: int,
    ) -> Effects: ...


# -- what digits mean -------------------------------------------------------------------------------------------------

_BETWEEN = dict.fromkeys(map(ord, " \t\u00a0()[]-\u2010\u2011\u2012\u2013"))
_ANY_DIGIT = "xXхХ*"


def mask(kind: Kind, text: str, e164: E164) -> str:
    """The digits of a lock. A prefix is typed in E.164, and what stands for any digit at its end is left out; a whole
    number is read as people dial it (D31). Raises ValueError with the remedy."""
    if kind == "number":
        digits = e164(text)
        if digits and digits.rstrip(_ANY_DIGIT) != digits:
            raise ValueError(f"{text!r} is a mask; for all numbers that begin so take the kind prefix")
    else:
        digits = text.translate(_BETWEEN).removeprefix("+").rstrip(_ANY_DIGIT)
    if not is_number(digits):
        example = "38 or 3811" if kind == "prefix" else "381114112060"
        raise ValueError(f"{text!r} is no {kind}: give 1 to 15 digits of E.164, such as {example}")
    return digits


def number_or_direction(text: str, e164: E164) -> str:
    """The digits of a number or a direction that support asks about, as people write them (§2.2, §2.3, D31):
    `+381 11 411-20-60`, `381`, `38111XXXXXX`, `8 (495) XXX-XX-XX`, `381…`. Raises ValueError with the remedy."""
    written = text.translate(_BETWEEN).rstrip("….")
    known = written.rstrip(_ANY_DIGIT)
    places = len(written) - len(known)
    # Which prefixes are dialled and which are countries' is told by the length of the whole number.
    digits = e164(known + "0" * places)
    digits = digits[: len(digits) - places]
    if not is_number(digits):
        raise ValueError(
            f"{text!r} is no number and no direction: give 1 to 15 digits, such as 381114112060, 381 or 38111XXXXXX"
        )
    return digits


def covers(one: OfficeLock | Lock, other: OfficeLock | Lock) -> bool:
    """Whether the first bans all that the second does: then the second adds nothing while the first is in force."""
    if one.account_id not in (None, other.account_id) or one.provider_id not in (None, other.provider_id):
        return False
    if one.kind == "prefix":
        return other.digits.startswith(one.digits)
    return other.kind == "number" and other.digits == one.digits


def same(one: OfficeLock | Lock, other: OfficeLock | Lock) -> bool:
    """Whether two locks ban the very same."""
    return (one.kind, one.digits, one.account_id, one.provider_id) == (
        other.kind,
        other.digits,
        other.account_id,
        other.provider_id,
    )


# -- who may ----------------------------------------------------------------------------------------------------------


def must_own(who: Asker, lock: OfficeLock) -> None:
    """Its author or a manager (D23). Raises NotAllowed, which says whom to ask (§2.2)."""
    who.must("locks.lift")
    if lock.author != who.user and not who.may("locks.lift_any"):
        raise NotAllowed(
            f"lock {lock.lock_id} was set by {lock.author}: only its author or a manager may change or lift it",
            permission="locks.lift_any",
            ask=f"{lock.author}, who set it; else your manager",
        )


def whom_to_ask(author: str, known: Colleague | None) -> str:
    """Whom support asks why a lock was set (§2.2): its author, else the manager. Ends the sentence "ask …"."""
    if known is None:
        return f"{author}, who set it (and is no user here); else your manager"
    if not known.enabled:
        return f"your manager: {known.full_name} ({author}), who set it, works here no more"
    ways = "".join(f", {way}" for way in (known.phone, known.email) if way)
    return f"{known.full_name} ({author}{ways}), who set it; else your manager"


# -- use cases --------------------------------------------------------------------------------------------------------


async def set_lock(
    locks: Locks,
    trail: Trail,
    who: Asker,
    sent: LockSent,
    *,
    lock_id: str,
    now: datetime,
    settings: EngineSettings,
    e164: E164,
) -> OfficeLock:
    """Sets a lock: `lock_id` is its id where none was sent. The same lock sent again under its id is there already.

    Raises NotAllowed; Unfit; InTheWay where another lock bans the very same, or the id is taken.
    """
    who.must("locks.set")
    if sent.lock_id is not None:
        check_id(sent.lock_id, "/lock_id")
    lock_id = sent.lock_id or lock_id
    at = to_text(from_datetime(now))
    problems: list[FieldProblem] = []
    wanted = OfficeLock(
        lock_id,
        sent.kind,
        _digits(sent.kind, sent.digits, e164, settings, problems),
        sent.account_id,
        sent.provider_id,
        who.user,
        sent.reason,
        at,
        _end(sent.ends_at, now, problems),
        None,
        None,
        None,
        1,
        at,
        who.user,
        sent.reason,
    )
    await _fits(locks, wanted, problems)
    there = await locks.lock(lock_id)
    if there is not None:
        asked = (wanted.author, wanted.reason, wanted.ends_at)
        if same(there, wanted) and there.lifted_at is None and (there.author, there.reason, there.ends_at) == asked:
            return there
        state = "is in force" if there.lifted_at is None else f"was lifted {there.lifted_at}"
        raise InTheWay(f"there is a lock {lock_id!r} already, which {state}: give the new one another id, or none")
    await _is_new(locks, wanted)
    after = await locks.set(wanted)
    await trail.audit("lock", lock_id, "set", None, after)
    await trail.publish("lock", lock_id, after.record())
    return after


async def change_lock(
    locks: Locks,
    trail: Trail,
    who: Asker,
    lock_id: str,
    sent: LockChange,
    *,
    now: datetime,
    settings: EngineSettings,
    e164: E164,
) -> OfficeLock:
    """Changes a lock that is in force. Raises NotThere; NotAllowed; Unfit; InTheWay when it is lifted, or another one
    bans the very same as it would."""
    before = await _in_force(locks, lock_id, who)
    problems: list[FieldProblem] = []
    kind = before.kind if sent.kind is UNSET else sent.kind
    digits = before.digits if sent.digits is UNSET else _digits(kind, sent.digits, e164, settings, problems)
    wanted = replace(
        before,
        kind=kind,
        digits=digits,
        account_id=before.account_id if sent.account_id is UNSET else sent.account_id,
        provider_id=before.provider_id if sent.provider_id is UNSET else sent.provider_id,
        reason=before.reason if sent.new_reason is UNSET else sent.new_reason,
        ends_at=before.ends_at if sent.ends_at is UNSET else _end(sent.ends_at, now, problems),
    )
    await _fits(locks, wanted, problems)
    if wanted == before:
        return before
    if not same(wanted, before):
        await _is_new(locks, wanted)
    after = await locks.change(replace(wanted, change_reason=sent.reason))
    await trail.audit("lock", lock_id, "changed", before, after)
    if after.record() != before.record():
        await trail.publish("lock", lock_id, after.record())
    return after


async def lift_lock(locks: Locks, trail: Trail, who: Asker, lock_id: str, sent: LiftSent) -> OfficeLock:
    """Ends a lock. Raises NotThere, NotAllowed, InTheWay when it is lifted."""
    before = await _in_force(locks, lock_id, who)
    after = await locks.lift(before, sent.reason)
    await trail.audit("lock", lock_id, "lifted", before, after)
    await trail.publish("lock", lock_id, None)
    return after


async def ask(locks: Looks, letters: Letters, trail: Trail, who: Asker, lock_id: str, sent: QuestionSent) -> Question:
    """Asks a lock's author by letter, or the managers where he or she can't be written to (§2.2). Raises NotThere,
    NotAllowed, and InTheWay where nobody has an address."""
    who.must("locks.ask")
    lock = await locks.lock(lock_id)
    if lock is None:
        raise NotThere("lock", lock_id)
    author = await letters.colleague(lock.author)
    to: Sequence[Colleague]
    if author is not None and author.enabled and author.email is not None:
        to = [author]
    else:
        to = await letters.managers()
    addresses = [one.email for one in to if one.email is not None]
    if not addresses:
        raise InTheWay(
            f"neither {lock.author}, who set the lock, nor any manager has an e-mail address here: "
            f"ask {whom_to_ask(lock.author, author)}"
        )
    where = "для всех клиентов" if lock.account_id is None else f"на лицевом счёте {lock.account_id}"
    through = "" if lock.provider_id is None else f" через провайдера {lock.provider_id}"
    what = f"{'префикс' if lock.kind == 'prefix' else 'номер'} {lock.digits} {where}{through}"
    letter_id = await letters.write(
        addresses[0],
        addresses[1:],
        f"Вопрос о запрете {lock.lock_id}: {lock.digits}",
        f"{who.user} спрашивает о запрете {lock.lock_id} ({what}).\n\n{sent.question}\n\n"
        f"Запрет установил {lock.author} {lock.created_at}, причина: {lock.reason}\n",
        lock,
    )
    names = tuple([one.name for one in to if one.email is not None])
    await trail.audit("lock", lock_id, "asked", None, {"letter_id": letter_id, "to": names, "question": sent.question})
    return Question(lock_id, letter_id, names)


async def end_due(locks: Locks, trail: Trail) -> Sequence[OfficeLock]:
    """Lifts the locks that were set until a moment that has come; those that it has lifted."""
    ended = await locks.end_due(trail.actor, LIFTED_BY_ITSELF)
    for lock in ended:
        before = replace(lock, lifted_at=None, lifted_by=None, lift_reason=None, revision=lock.revision - 1)
        await trail.audit("lock", lock.lock_id, "lifted", before, lock)
        await trail.publish("lock", lock.lock_id, None)
    return ended


async def rehearse(
    locks: Looks,
    traffic: Traffic,
    sent: RehearsalSent,
    *,
    since: datetime,
    until: datetime,
    settings: EngineSettings,
    e164: E164,
) -> Rehearsal:
    """Which calls set up from `since` until just before `until` a lock would have stopped. Only those that were allowed
    count. Raises Unfit."""
    problems: list[FieldProblem] = []
    digits = _digits(sent.kind, sent.digits, e164, settings, problems)
    wanted = Lock("", sent.kind, digits, sent.account_id, sent.provider_id, "", "", "")
    await _fits(locks, wanted, problems)
    there = await locks.beside(digits)
    found = await traffic.effects(
        sent.kind,
        digits,
        sent.account_id,
        sent.provider_id,
        sorted(settings.routed_services),
        since,
        until,
        sent.limit,
    )
    total = found.total
    return Rehearsal(
        sent.kind,
        digits,
        sent.account_id,
        sent.provider_id,
        to_text(from_datetime(since)),
        to_text(from_datetime(until)),
        next((lock.lock_id for lock in there if same(lock, wanted)), None),
        tuple([lock.lock_id for lock in there if covers(lock, wanted)]),
        found.clients_affected,
        total.stopped_calls,
        total.stopped_seconds,
        total.lost_revenue_micros,
        total.saved_cost_micros,
        total.rerouted_calls,
        total.rerouted_seconds,
        found.untouched_calls,
        found.unasked_calls,
        found.clients,
    )


# -- small things -----------------------------------------------------------------------------------------------------


async def _in_force(locks: Locks, lock_id: str, who: Asker) -> OfficeLock:
    lock = await locks.lock(lock_id)
    if lock is None:
        raise NotThere("lock", lock_id)
    must_own(who, lock)
    if lock.lifted_at is not None:
        raise InTheWay(f"lock {lock_id!r} was lifted {lock.lifted_at} by {lock.lifted_by}: set a new one")
    return lock


def _digits(kind: Kind, text: str, e164: E164, settings: EngineSettings, problems: list[FieldProblem]) -> str:
    try:
        digits = mask(kind, text, e164)
    except ValueError as error:
        problems.append(FieldProblem("/digits", str(error)))
        return ""
    if digits in settings.emergency_numbers:
        problems.append(FieldProblem("/digits", f"{digits} is an emergency number: calls to it always pass (D30)"))
    return digits


def _end(text: str | None, now: datetime, problems: list[FieldProblem]) -> str | None:
    if text is None:
        return None
    try:
        us = to_us(text)
    except ValueError as error:
        problems.append(FieldProblem("/ends_at", str(error)))
        return None
    if us <= from_datetime(now):
        problems.append(FieldProblem("/ends_at", f"has passed: it is {to_text(from_datetime(now))}; lift it instead"))
    return to_text(us)


async def _fits(locks: Looks, wanted: OfficeLock | Lock, problems: list[FieldProblem]) -> None:
    """Raises Unfit with all problems, those found before too."""
    if wanted.account_id is not None and not await locks.has_account(wanted.account_id):
        problems.append(FieldProblem("/account_id", f"there is no account {wanted.account_id!r}"))
    if wanted.provider_id is not None and not await locks.has_provider(wanted.provider_id):
        problems.append(FieldProblem("/provider_id", f"there is no provider {wanted.provider_id!r}"))
    if problems:
        raise Unfit(problems)


async def _is_new(locks: Locks, wanted: OfficeLock) -> None:
    for lock in await locks.beside(wanted.digits):
        if lock.lock_id != wanted.lock_id and same(lock, wanted):
            raise InTheWay(
                f"lock {lock.lock_id} bans the very same already: {lock.author} set it {lock.created_at}, because: "
                f"{lock.reason}"
            )

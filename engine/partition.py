"""One partition's state machine: all accounts and numbers whose events come through it.

`handle` takes an event and the time of its record. Rules elsewhere decide; the `_apply_…` methods here alone change
state. What is to be published gathers in `outbox`, what a new owner of the partition must know in `changes`; both are
taken by the worker when it commits. The same events in the same order give the same bytes.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from heapq import heappop, heappush
from typing import NamedTuple

from msgspec.structs import replace

from engine.accounts import AccountState, balance, opened
from engine.calls import Call, Extension
from engine.changelog import (
    ACCOUNT,
    CALL,
    CALLER,
    CDR,
    COMMAND,
    COUNTER,
    HOLD,
    PRESENT,
    CallRecord,
    CounterRecord,
    HoldRecord,
    SeenRecord,
    decode_account,
    decode_call,
    decode_counter,
    decode_hold,
    decode_seen,
)
from engine.days import CivilDays
from engine.decisions import decide, extend, extend_emergency
from engine.ncv import Counter, normalised
from engine.offers import Offer
from engine.prices import Context, Price
from engine.rating import moments, rate
from engine.reference import Reference
from engine.refusals import Refusal, refuse
from engine.settings import EngineSettings
from schemas import topics
from schemas.codec import decode_decision, encode, pack
from schemas.decisions import CallDecision, NumberNotInUse
from schemas.events import (
    AccountCommand,
    Block,
    CallAttempt,
    CallExtension,
    CallRelease,
    Cdr,
    Close,
    Event,
    Payment,
    TopUp,
    Unblock,
    WriteOff,
)
from schemas.facts import Notice, Traffic
from schemas.rated import RatedCdr
from schemas.reference import Account
from schemas.times import to_text, to_us


class Output(NamedTuple):
    """One record to publish, and its bytes."""

    topic: str
    key: str
    record: object
    value: bytes


class Sums:
    """Traffic through one provider to one destination within a batch."""

    __slots__ = ("allowed", "answered", "attempts", "cost", "revenue", "seconds")

    def __init__(self) -> None:
        self.attempts = self.allowed = self.answered = self.seconds = self.revenue = self.cost = 0


def digest(event: Event) -> bytes:
    """What an event's content is known by when its id comes again."""
    return blake2b(pack(event), digest_size=16).digest()


class Partition:
    """State and rules of one partition."""

    def __init__(self, settings: EngineSettings, reference: Reference) -> None:
        self.settings = settings
        self.reference = reference
        self.clock_us = 0
        """The latest record time seen: holds expire and ids are forgotten by it."""
        self.outbox: list[Output] = []
        self.duplicates = 0
        """Events that came again with the same content, since the start."""

        self.accounts: dict[str, AccountState] = {}
        self.calls: dict[str, Call] = {}
        self.counters: dict[tuple[str, str], Counter] = {}
        self._seen_cdrs: dict[str, SeenRecord] = {}
        self._seen_commands: dict[str, SeenRecord] = {}
        self._days = CivilDays(settings.business_time_zone)
        self._expiries: list[tuple[int, str]] = []
        self._forget: list[tuple[int, str, str]] = []
        self._forget_counters: list[tuple[int, tuple[str, str]]] = []

        self._changes: dict[bytes, bytes | None] = {}
        self._touched: dict[str, AccountState] = {}
        self._changed_calls: dict[str, Call] = {}
        self._counted: dict[tuple[str, str], Counter] = {}
        self._traffic: dict[tuple[str | None, str], Sums] = {}

        self._handlers: dict[type, Callable[..., Refusal | None]] = {
            CallAttempt: self._on_attempt,
            CallExtension: self._on_extension,
            CallRelease: self._on_release,
            Cdr: self._on_cdr,
            Payment: self._on_command,
            TopUp: self._on_command,
            WriteOff: self._on_command,
            Block: self._on_command,
            Unblock: self._on_command,
            Close: self._on_command,
        }

    # Events

    def handle(self, event: Event, now_us: int) -> Refusal | None:
        """Takes one event in; `now_us` is the time of its record. A refusal has changed nothing."""
        if now_us > self.clock_us:
            self.clock_us = now_us
        clock_us = self.clock_us
        if self._expiries and self._expiries[0][0] <= clock_us:
            self._expire()
        if self._forget and self._forget[0][0] < clock_us - self.settings.remember_us:
            self._forget_ids()
        refusal = self._handlers[type(event)](event, now_us)
        if self._expiries and self._expiries[0][0] <= clock_us:
            # An attempt that came late may have been granted less than it was late.
            self._expire()
        return refusal

    def _on_attempt(self, attempt: CallAttempt, now_us: int) -> Refusal | None:
        call = self.calls.get(attempt.attempt_id)
        if call is not None:
            if call.attempt != attempt:
                return refuse("id_reused", f"attempt_id {attempt.attempt_id!r} came before with other content")
            self.duplicates += 1
            self._publish(topics.CALL_DECISIONS.name, attempt.attempt_id, replace(call.decision, repeated=True))
            return None
        at_us = self._moment(attempt.at, now_us)
        if isinstance(at_us, Refusal):
            return at_us
        account, state = self._account(attempt.account_id)
        decision, offer = decide(self.settings, self.reference, attempt, at_us, account, state)
        published = self._publish(topics.CALL_DECISIONS.name, attempt.attempt_id, decision)
        self._apply_decision(attempt, decision, offer, published, at_us, now_us, account, state)
        return None

    def _on_extension(self, request: CallExtension, now_us: int) -> Refusal | None:
        call = self.calls.get(request.attempt_id)
        if call is None:
            return refuse("unknown_attempt", f"attempt_id {request.attempt_id!r} is not known, or no longer")
        for known in call.extensions:
            if known.request == request:
                self.duplicates += 1
                self._publish(topics.CALL_DECISIONS.name, request.attempt_id, replace(known.decision, repeated=True))
                return None
        at_us = self._moment(request.at, now_us)
        if isinstance(at_us, Refusal):
            return at_us
        if call.attempt.account_id != request.account_id:
            return refuse("account_mismatch", f"the attempt's account is {call.attempt.account_id!r}")
        account, state = self._account(request.account_id)
        if call.phase != "running":
            return refuse("attempt_ended", f"attempt_id {request.attempt_id!r}: {call.phase}")
        if call.decision.emergency is True:
            decision = extend_emergency(self.settings, self.reference, request, call)
        else:
            assert account is not None, "a running call has an account"
            assert state is not None, "a running call has an account"
            prices, percent = self._retail_prices(call), self._percent(call)
            decision = extend(self.settings, self.reference, request, call, prices, percent, account, state)
        self._apply_extension(request, decision, call, state, now_us)
        self._publish(topics.CALL_DECISIONS.name, request.attempt_id, decision)
        return None

    def _on_release(self, release: CallRelease, now_us: int) -> Refusal | None:
        call = self.calls.get(release.attempt_id)
        if call is None:
            return refuse("unknown_attempt", f"attempt_id {release.attempt_id!r} is not known, or no longer")
        if release.account_id is not None and call.attempt.account_id != release.account_id:
            return refuse("account_mismatch", f"the attempt's account is {call.attempt.account_id!r}")
        if call.phase != "running":
            self.duplicates += 1
            return None
        self._apply_end(call, "released", now_us)
        return None

    def _on_cdr(self, cdr: Cdr, now_us: int) -> Refusal | None:
        content = digest(cdr)
        seen = self._seen_cdrs.get(cdr.cdr_id)
        if seen is not None:
            return self._again(seen, content, f"cdr_id {cdr.cdr_id!r}")
        times = moments(cdr)
        if isinstance(times, Refusal):
            return times
        if (refusal := self._out_of_time(times.ended_us, now_us)) is not None:
            return refusal
        call = None if cdr.attempt_id is None else self.calls.get(cdr.attempt_id)
        account, state = self._account(cdr.account_id)
        rated = rate(self.settings, self.reference, cdr, times, call, account, state)
        if isinstance(rated, Refusal):
            return rated
        self._apply_rated(rated, call, account, state, now_us)
        self._remember_cdr(cdr.cdr_id, content, now_us)
        self._publish(topics.RATED_CDRS.name, cdr.account_id or cdr.called, rated)
        return None

    def _on_command(self, command: AccountCommand, now_us: int) -> Refusal | None:
        content = digest(command)
        seen = self._seen_commands.get(command.command_id)
        if seen is not None:
            return self._again(seen, content, f"command_id {command.command_id!r}")
        at_us = self._moment(command.at, now_us)
        if isinstance(at_us, Refusal):
            return at_us
        account, state = self._account(command.account_id)
        if account is None or state is None:
            return refuse("unknown_account", f"account_id {command.account_id!r} is not in the reference data")
        if isinstance(command, Payment | TopUp | WriteOff) and command.amount_micros == 0:
            return refuse("malformed", "amount_micros is 0: nothing would move")
        if isinstance(command, Block | Unblock) and state.status == "closed":
            return refuse("account_closed", f"account {command.account_id!r} is closed for good")
        self._apply_command(command, account, state, now_us)
        self._seen_commands[command.command_id] = SeenRecord(content, self.clock_us)
        heappush(self._forget, (self.clock_us, COMMAND, command.command_id))
        self._change(COMMAND, command.command_id, SeenRecord(content, self.clock_us))
        return None

    # What changes state

    def _apply_decision(
        self,
        attempt: CallAttempt,
        decision: CallDecision,
        offer: Offer | None,
        published: bytes,
        at_us: int,
        now_us: int,
        account: Account | None,
        state: AccountState | None,
    ) -> None:
        allowed = decision.allow
        counted = allowed and state is not None and not decision.emergency
        expires_us = at_us + (decision.max_seconds + self.settings.hold_grace_seconds) * 1_000_000
        call = Call(
            attempt,
            decision,
            at_us,
            "running" if allowed else "denied",
            decision.max_seconds,
            decision.hold_micros,
            expires_us,
            self.clock_us,
            counted,
            (),
            None if account is None else account.tariff_plan_id,
            attempt.place or (None if account is None else account.place),
            offer,
        )
        self.calls[attempt.attempt_id] = call
        self._changed_calls[attempt.attempt_id] = call
        self._change(CALL, attempt.attempt_id, CallRecord(attempt, published, call.tariff_plan_id, call.place))
        heappush(self._forget, (self.clock_us, CALL, attempt.attempt_id))
        if allowed:
            heappush(self._expiries, (expires_us, attempt.attempt_id))
        if counted and state is not None:
            state.held_micros += decision.hold_micros
            state.running += 1
            self._touch(state, now_us)
        if isinstance(decision.reason, NumberNotInUse) and decision.reason.status is not None:
            self._apply_unwanted(attempt, at_us, now_us)
        if decision.routes:
            sums = self._sums(decision.routes[0].provider_id, decision.routes[0].prefix)
        else:
            sums = self._sums(None, "")
        sums.attempts += 1
        sums.allowed += allowed

    def _apply_extension(
        self, request: CallExtension, decision: CallDecision, call: Call, state: AccountState | None, now_us: int
    ) -> None:
        call.extensions = (*call.extensions, Extension(request, decision))
        call.last_us = max(call.last_us, self.clock_us)
        if call.counted and state is not None:
            state.held_micros += decision.hold_micros - call.hold_micros
            self._touch(state, now_us)
        call.hold_micros = decision.hold_micros
        if decision.max_seconds > call.granted_seconds:
            call.granted_seconds = decision.max_seconds
            call.expires_us = call.at_us + (decision.max_seconds + self.settings.hold_grace_seconds) * 1_000_000
            heappush(self._expiries, (call.expires_us, call.attempt_id))
        self._changed_calls[call.attempt_id] = call

    def _apply_end(self, call: Call, phase: str, now_us: int) -> None:
        """Frees what a running call holds."""
        assert call.phase == "running"
        call.phase = phase  # type: ignore[assignment]  # one of Phase, as all callers see
        call.last_us = max(call.last_us, self.clock_us)
        self._changed_calls[call.attempt_id] = call
        if call.counted and call.attempt.account_id is not None:
            state = self.accounts[call.attempt.account_id]
            state.held_micros -= call.hold_micros
            state.running -= 1
            assert state.held_micros >= 0, f"account {state.account_id} holds less than nothing"
            assert state.running >= 0, f"account {state.account_id} has fewer calls than none"
            self._touch(state, now_us)

    def _apply_rated(
        self, rated: RatedCdr, call: Call | None, account: Account | None, state: AccountState | None, now_us: int
    ) -> None:
        if call is not None:
            call.last_us = max(call.last_us, self.clock_us)
            self._changed_calls[call.attempt_id] = call
            if call.phase == "running" and self._ends(rated.service, call.attempt.service):
                self._apply_end(call, "ended", now_us)
        revenue = cost = 0
        if rated.retail is not None:
            assert account is not None
            assert state is not None
            revenue = rated.retail.amount_micros
            if revenue:
                self._apply_money(account, state, -revenue, now_us)
            assert state.balance_micros == rated.balance_after_micros
        if rated.wholesale is not None:
            cost = rated.wholesale.amount_micros
        priced = rated.wholesale or rated.retail
        sums = self._sums(rated.provider_id, "" if priced is None else priced.prefix)
        sums.answered += rated.answered_at is not None
        sums.seconds += rated.billable_seconds
        sums.revenue += revenue
        sums.cost += cost

    def _apply_command(self, command: AccountCommand, account: Account, state: AccountState, now_us: int) -> None:
        if isinstance(command, Payment | TopUp):
            self._apply_money(account, state, command.amount_micros, now_us)
        elif isinstance(command, WriteOff):
            self._apply_money(account, state, -command.amount_micros, now_us)
        else:
            if isinstance(command, Unblock):
                state.status = "active"
                state.status_since = state.status_why = None
            else:
                state.status = "closed" if isinstance(command, Close) else "blocked"
                state.status_since, state.status_why = command.at, command.reason
            self._touch(state, now_us)

    def _apply_money(self, account: Account, state: AccountState, amount_micros: int, now_us: int) -> None:
        before = state.balance_micros
        state.balance_micros = after = before + amount_micros
        self._touch(state, now_us)
        if after >= before:
            return
        critical = account.critical_balance_micros
        if critical is not None and after <= critical:
            noticed_us = state.critical_noticed_us
            if noticed_us is None or now_us - noticed_us >= self.settings.critical_notice_every_us:
                state.critical_noticed_us = now_us
                self._notice("critical_balance", state, critical, now_us)
        credit = account.credit_limit_micros
        if before + credit > 0 >= after + credit:
            self._notice("money_exhausted", state, -credit, now_us)

    def _apply_unwanted(self, attempt: CallAttempt, at_us: int, now_us: int) -> None:
        caller = normalised(attempt.caller)
        if caller in self.settings.ncv_ignored_callers:
            return
        key = (attempt.called, self._days.of(at_us))
        counter = self.counters.get(key)
        if counter is None:
            counter = self.counters[key] = Counter(*key, now_us)
            heappush(self._forget_counters, (now_us, key))
        if counter.add(caller, at_us):
            self._changes[f"{CALLER}/{key[0]}/{key[1]}/{caller}".encode()] = PRESENT
        self._counted[key] = counter

    def _expire(self) -> None:
        expiries, clock_us = self._expiries, self.clock_us
        while expiries and expiries[0][0] <= clock_us:
            expires_us, attempt_id = heappop(expiries)
            call = self.calls.get(attempt_id)
            # An extended call has a later entry of its own.
            if call is not None and call.phase == "running" and call.expires_us == expires_us:
                self._apply_end(call, "expired", expires_us)

    # The end of a batch

    def close_batch(self) -> None:
        """Publishes what is told once a batch: balances and counters that changed, and the traffic's sums."""
        for account_id, state in self._touched.items():
            self._publish(topics.ACCOUNT_BALANCES.name, account_id, balance(state, self.reference.accounts[account_id]))
        for (number, day), counter in self._counted.items():
            self._publish(topics.NUMBER_NCV.name, f"{number}/{day}", counter.fact())
        at = to_text(self.clock_us)
        for (provider_id, destination), sums in self._traffic.items():
            self._publish(
                topics.TRAFFIC.name,
                f"{provider_id or ''}/{destination}",
                Traffic(
                    provider_id=provider_id,
                    destination=destination,
                    at=at,
                    attempts=sums.attempts,
                    allowed=sums.allowed,
                    answered=sums.answered,
                    seconds=sums.seconds,
                    revenue_micros=sums.revenue,
                    cost_micros=sums.cost,
                ),
            )
        self._traffic.clear()
        self._forget_counters_of_old()

    def take_outbox(self) -> list[Output]:
        """What is to be published since the last call."""
        outbox, self.outbox = self.outbox, []
        return outbox

    def take_changes(self) -> dict[bytes, bytes | None]:
        """Changelog records since the last call, the latest of each key; None is a tombstone."""
        changes, self._changes = self._changes, {}
        for account_id, state in self._touched.items():
            changes[f"{ACCOUNT}/{account_id}".encode()] = pack(state)
        for attempt_id, call in self._changed_calls.items():
            changes[f"{HOLD}/{attempt_id}".encode()] = pack(
                HoldRecord(
                    call.at_us,
                    call.phase,
                    call.granted_seconds,
                    call.hold_micros,
                    call.expires_us,
                    call.last_us,
                    call.counted,
                    call.extensions,
                )
            )
        for (number, day), counter in self._counted.items():
            changes[f"{COUNTER}/{number}/{day}".encode()] = pack(
                CounterRecord(number, day, counter.calls, counter.first_us, counter.last_us, counter.begun_us)
            )
        self._touched.clear()
        self._changed_calls.clear()
        self._counted.clear()
        return changes

    def _forget_ids(self) -> None:
        """Forgets the ids that are old by now, in the order of their last use, whoever owned the partition then."""
        oldest_us = self.clock_us - self.settings.remember_us
        forget = self._forget
        running = []
        while forget and forget[0][0] < oldest_us:
            entry = heappop(forget)
            _, kind, name = entry
            if kind == CALL:
                call = self.calls[name]
                if call.last_us >= oldest_us:
                    heappush(forget, (call.last_us, CALL, name))
                    continue
                if call.phase == "running":
                    running.append((call.last_us, CALL, name))
                    continue
                if entry[0] < call.last_us:
                    heappush(forget, (call.last_us, CALL, name))
                    continue
                del self.calls[name]
                self._changed_calls.pop(name, None)
                self._changes[f"{HOLD}/{name}".encode()] = None
            elif kind == CDR:
                del self._seen_cdrs[name]
            else:
                del self._seen_commands[name]
            self._changes[f"{kind}/{name}".encode()] = None
        for entry in running:
            heappush(forget, entry)

    def _forget_counters_of_old(self) -> None:
        """Forgets counters that no event can reach any more."""
        oldest_us = self.clock_us - self.settings.horizon_us - self.settings.ahead_us
        counters = self._forget_counters
        while counters and counters[0][0] < oldest_us:
            _, key = heappop(counters)
            counter = self.counters.pop(key)
            self._counted.pop(key, None)
            self._changes[f"{COUNTER}/{key[0]}/{key[1]}".encode()] = None
            for caller in sorted(counter.callers):
                self._changes[f"{CALLER}/{key[0]}/{key[1]}/{caller}".encode()] = None

    # Restoring

    def restore(self, records: Mapping[bytes, bytes], clock_us: int) -> None:
        """Takes in the changelog: the latest record of each key, without the position.

        AssertionError when the holds do not add up to what the accounts hold: the state is lost and must be rebuilt.
        """
        assert not self.accounts, "a partition is restored once, before its first event"
        assert not self.calls, "a partition is restored once, before its first event"
        self.clock_us = clock_us
        holds: dict[str, HoldRecord] = {}
        callers: list[str] = []
        forget: list[tuple[int, str, str]] = []
        forget_counters: list[tuple[int, tuple[str, str]]] = []
        for key, value in records.items():
            kind, _, name = key.decode().partition("/")
            if kind == ACCOUNT:
                self.accounts[name] = decode_account(value)
            elif kind == CALL:
                record = decode_call(value)
                decision = decode_decision(record.decision)
                self.calls[name] = Call(
                    record.attempt,
                    decision,
                    0,
                    "denied",
                    0,
                    0,
                    0,
                    0,
                    counted=False,
                    tariff_plan_id=record.tariff_plan_id,
                    place=record.place,
                )
            elif kind == HOLD:
                holds[name] = decode_hold(value)
            elif kind == CDR:
                seen = self._seen_cdrs[name] = decode_seen(value)
                forget.append((seen.seen_us, CDR, name))
            elif kind == COMMAND:
                seen = self._seen_commands[name] = decode_seen(value)
                forget.append((seen.seen_us, COMMAND, name))
            elif kind == COUNTER:
                begun_us, counter = _counter(decode_counter(value))
                self.counters[counter.number, counter.day] = counter
                forget_counters.append((begun_us, (counter.number, counter.day)))
            elif kind == CALLER:
                callers.append(name)
        for name, hold in holds.items():
            self._restore_hold(self.calls[name], hold)
            forget.append((hold.last_us, CALL, name))
        for name in callers:
            number, day, caller = name.split("/", 2)
            self.counters[number, day].callers.add(caller)
        self._forget = sorted(forget)
        self._forget_counters = sorted(forget_counters)
        self._check_holds()

    def _restore_hold(self, call: Call, hold: HoldRecord) -> None:
        call.at_us = hold.at_us
        call.phase = hold.phase
        call.granted_seconds = hold.granted_seconds
        call.hold_micros = hold.hold_micros
        call.expires_us = hold.expires_us
        call.last_us = hold.last_us
        call.counted = hold.counted
        call.extensions = hold.extensions
        if call.phase == "running":
            heappush(self._expiries, (call.expires_us, call.attempt_id))

    def _check_holds(self) -> None:
        held: dict[str, tuple[int, int]] = {}
        for call in self.calls.values():
            if call.phase == "running" and call.counted and call.attempt.account_id is not None:
                micros, running = held.get(call.attempt.account_id, (0, 0))
                held[call.attempt.account_id] = (micros + call.hold_micros, running + 1)
        for account_id, state in self.accounts.items():
            expected = held.pop(account_id, (0, 0))
            assert (state.held_micros, state.running) == expected, f"account {account_id}: holds are {expected}"
        assert not held, f"holds without an account: {sorted(held)}"

    # Small helpers

    def _publish(self, topic: str, key: str, record: object) -> bytes:
        value = encode(record)
        self.outbox.append(Output(topic, key, record, value))
        return value

    def _change(self, kind: str, name: str, record: object) -> None:
        self._changes[f"{kind}/{name}".encode()] = pack(record)

    def _remember_cdr(self, cdr_id: str, content: bytes, now_us: int) -> None:
        seen = SeenRecord(content, self.clock_us)
        self._seen_cdrs[cdr_id] = seen
        heappush(self._forget, (self.clock_us, CDR, cdr_id))
        self._change(CDR, cdr_id, seen)

    def _again(self, seen: SeenRecord, content: bytes, what: str) -> Refusal | None:
        if seen.digest != content:
            return refuse("id_reused", f"{what} came before with other content")
        self.duplicates += 1
        return None

    def _account(self, account_id: str | None) -> tuple[Account | None, AccountState | None]:
        if account_id is None:
            return None, None
        account = self.reference.accounts.get(account_id)
        if account is None:
            return None, None
        # An account that no event has touched is as the reference data opens it, and is not kept.
        return account, self.accounts.get(account_id) or opened(account)

    def _touch(self, state: AccountState, now_us: int) -> None:
        """To be called with each change of an account."""
        state.touched_us = max(state.touched_us, now_us)
        self.accounts[state.account_id] = state
        self._touched[state.account_id] = state

    def _moment(self, text: str, now_us: int) -> int | Refusal:
        try:
            at_us = to_us(text)
        except ValueError as error:
            return refuse("bad_time", f"at: {error}")
        return self._out_of_time(at_us, now_us) or at_us

    def _out_of_time(self, at_us: int, now_us: int) -> Refusal | None:
        if at_us < now_us - self.settings.horizon_us:
            return refuse("too_late", f"{to_text(at_us)} is more than {self.settings.horizon_us} µs before its record")
        if at_us > now_us + self.settings.ahead_us:
            return refuse("too_early", f"{to_text(at_us)} is ahead of its record's time {to_text(now_us)}")
        return None

    def _retail_prices(self, call: Call) -> tuple[Price, ...]:
        """The prices that the call's routes are sold at, as of its set-up."""
        attempt = call.attempt
        assert call.tariff_plan_id is not None, "a call of an unknown account runs"
        context = Context(attempt.service, call.place, attempt.incoming_service)
        found: dict[int, Price] = {}
        for provider_id in (*[route.provider_id for route in call.decision.routes],) or (None,):
            price = self.reference.offers.retail(
                attempt.called,
                call.tariff_plan_id,
                context,
                call.at_us,
                provider_id,
                call.decision.reference_version,
            )
            if price is not None:
                found[id(price)] = price
        return tuple(found.values())

    def _percent(self, call: Call) -> int:
        attempt = call.attempt
        discount = self.reference.discount(attempt.account_id or "", attempt.service, call.at_us)
        return 0 if discount is None else discount.percent

    def _ends(self, rated_service: str, attempt_service: str) -> bool:
        """Whether a CDR is the call's own, not that of a recording made of it."""
        routed = self.settings.routed_services
        return rated_service == attempt_service or (rated_service in routed and attempt_service in routed)

    def _notice(self, kind: str, state: AccountState, limit_micros: int, now_us: int) -> None:
        self._publish(
            topics.NOTICES.name,
            state.account_id,
            Notice(kind, state.account_id, to_text(now_us), state.balance_micros, limit_micros),  # type: ignore[arg-type]
        )

    def _sums(self, provider_id: str | None, destination: str) -> Sums:
        sums = self._traffic.get((provider_id, destination))
        if sums is None:
            sums = self._traffic[provider_id, destination] = Sums()
        return sums


def _counter(record: CounterRecord) -> tuple[int, Counter]:
    counter = Counter(record.number, record.day, record.begun_us)
    counter.calls, counter.first_us, counter.last_us = record.calls, record.first_us, record.last_us
    return record.begun_us, counter

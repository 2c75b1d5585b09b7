"""What one partition knows: accounts, calls, counters, the ids it has seen, and when it expires and forgets them.

The `apply_…` methods alone change it; they carry out what the rules decided and ask no rule. What is to be published
gathers in `outbox`, what a new owner of the partition must know in the changes; the worker takes both when it commits.
"""

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import NamedTuple

from msgspec import Struct

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
)
from engine.days import CivilDays
from engine.ncv import Counter, normalised
from engine.offers import Offer
from engine.reference import Reference
from engine.restoring import restored
from engine.settings import EngineSettings
from engine.traffic import Sums
from schemas import topics
from schemas.codec import encode, pack
from schemas.decisions import CallDecision, NumberNotInUse
from schemas.events import (
    AccountCommand,
    CallAttempt,
    CallExtension,
    Close,
    Correction,
    Payment,
    TopUp,
    Unblock,
    WriteOff,
)
from schemas.facts import AccountMovement, Notice
from schemas.rated import RatedCdr
from schemas.reference import Account
from schemas.times import to_text


class Output(NamedTuple):
    """One record to publish, and its bytes."""

    topic: str
    key: str
    record: Struct
    value: bytes


# Output(...) itself takes thrice as long, and there are several records an event.
_new_output = tuple.__new__


class State:
    """The state of one partition."""

    def __init__(self, settings: EngineSettings, reference: Reference) -> None:
        self.settings = settings
        self.reference = reference
        self.clock_us = 0
        """The latest record time seen: holds expire and ids are forgotten by it."""
        self.outbox: list[Output] = []
        self.duplicates = 0
        """Events that came again with the same content, since the start."""

        self.running_calls = 0
        """Calls that have been allowed and have not ended."""
        self.held_micros = 0
        """Money held for them, over all accounts."""

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

    def account(self, account_id: str | None) -> tuple[Account | None, AccountState | None]:
        """An account's attributes and its state; None where it is not known."""
        if account_id is None:
            return None, None
        account = self.reference.accounts.get(account_id)
        if account is None:
            return None, None
        # An account that no event has touched is as the reference data opens it, and is not kept.
        return account, self.accounts.get(account_id) or opened(account)

    def publish(self, topic: str, key: str, record: Struct) -> bytes:
        """Adds a record to the outbox; its bytes."""
        value = encode(record)
        self.outbox.append(_new_output(Output, (topic, key, record, value)))
        return value

    # What was decided

    def apply_decision(
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
        """A new attempt has been answered, with the bytes `published`."""
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
            self.running_calls += 1
        if counted and state is not None:
            state.held_micros += decision.hold_micros
            self.held_micros += decision.hold_micros
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

    def apply_extension(
        self, request: CallExtension, decision: CallDecision, call: Call, state: AccountState | None, now_us: int
    ) -> None:
        """A running call's request for more time has been answered."""
        call.extensions = (*call.extensions, Extension(request, decision))
        self._use(call)
        if call.counted and state is not None:
            state.held_micros += decision.hold_micros - call.hold_micros
            self.held_micros += decision.hold_micros - call.hold_micros
            self._touch(state, now_us)
        call.hold_micros = decision.hold_micros
        if decision.max_seconds > call.granted_seconds:
            call.granted_seconds = decision.max_seconds
            call.expires_us = call.at_us + (decision.max_seconds + self.settings.hold_grace_seconds) * 1_000_000
            heappush(self._expiries, (call.expires_us, request.attempt_id))

    def apply_end(self, call: Call, phase: str, now_us: int) -> None:
        """A running call has ended: what it holds is freed."""
        assert call.phase == "running"
        call.phase = phase  # type: ignore[assignment]  # one of Phase, as all callers see
        self.running_calls -= 1
        self._use(call)
        if call.counted and call.attempt.account_id is not None:
            state = self.accounts[call.attempt.account_id]
            state.held_micros -= call.hold_micros
            self.held_micros -= call.hold_micros
            state.running -= 1
            assert state.held_micros >= 0, f"account {state.account_id} holds less than nothing"
            assert state.running >= 0, f"account {state.account_id} has fewer calls than none"
            self._touch(state, now_us)

    def apply_rated(
        self,
        rated: RatedCdr,
        content: bytes,
        call: Call | None,
        account: Account | None,
        state: AccountState | None,
        now_us: int,
    ) -> None:
        """A CDR has been rated; `content` is the digest that it is known by when it comes again."""
        if call is not None:
            self._use(call)
            if call.phase == "running" and self._ends(rated.service, call.attempt.service):
                self.apply_end(call, "ended", now_us)
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
        seen = self._seen_cdrs[rated.cdr_id] = SeenRecord(content, self.clock_us)
        heappush(self._forget, (self.clock_us, CDR, rated.cdr_id))
        self._change(CDR, rated.cdr_id, seen)

    def apply_command(
        self,
        command: AccountCommand,
        content: bytes,
        account: Account,
        state: AccountState,
        at_us: int,
        now_us: int,
    ) -> None:
        """A command is carried out; `content` is the digest that it is known by when it comes again."""
        amount_micros, reference, reason = 0, None, None
        if isinstance(command, Payment | TopUp | WriteOff | Correction):
            amount_micros = -command.amount_micros if isinstance(command, WriteOff) else command.amount_micros
            reference = command.reference
            self._apply_money(account, state, amount_micros, now_us)
        else:
            reason = command.reason
            self._touch(state, now_us)
            if isinstance(command, Unblock):
                state.status = "active"
                state.status_since = state.status_why = None
            else:
                state.status = "closed" if isinstance(command, Close) else "blocked"
                state.status_since, state.status_why = command.at, reason
        self.publish(
            topics.ACCOUNT_MOVEMENTS.name,
            state.account_id,
            AccountMovement(
                kind=str(type(command).__struct_config__.tag),  # type: ignore[arg-type]  # a command's tag is its kind
                account_id=state.account_id,
                at=to_text(at_us),
                command_id=command.command_id,
                amount_micros=amount_micros,
                balance_after_micros=state.balance_micros,
                currency=account.currency,
                status=state.status,
                reference=reference,
                reason=reason,
            ),
        )
        seen = self._seen_commands[command.command_id] = SeenRecord(content, self.clock_us)
        heappush(self._forget, (self.clock_us, COMMAND, command.command_id))
        self._change(COMMAND, command.command_id, seen)

    def _apply_money(self, account: Account, state: AccountState, amount_micros: int, now_us: int) -> None:
        self._touch(state, now_us)
        before = state.balance_micros
        state.balance_micros = after = before + amount_micros
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

    def _touch(self, state: AccountState, now_us: int) -> None:
        """To be called with each change of an account, before its balance or status change."""
        if state.account_id not in self.accounts:
            self._open(state, now_us)
        if now_us > state.touched_us:
            state.touched_us = now_us
        self._touched[state.account_id] = state

    def _open(self, state: AccountState, now_us: int) -> None:
        """The first event that touches an account: from here on its state is kept, and its opening has been told."""
        account_id = state.account_id
        self.accounts[account_id] = state
        self.publish(
            topics.ACCOUNT_MOVEMENTS.name,
            account_id,
            AccountMovement(
                kind="opening",
                account_id=account_id,
                at=to_text(now_us),
                command_id=None,
                amount_micros=state.balance_micros,
                balance_after_micros=state.balance_micros,
                currency=self.reference.accounts[account_id].currency,
                status=state.status,
                reference=None,
                reason=None,
            ),
        )

    def _use(self, call: Call) -> None:
        """To be called with each change of a call: it is remembered from its last use on."""
        if self.clock_us > call.last_us:
            call.last_us = self.clock_us
        self._changed_calls[call.attempt.attempt_id] = call

    def _change(self, kind: str, name: str, record: Struct) -> None:
        self._changes[f"{kind}/{name}".encode()] = pack(record)

    def _notice(self, kind: str, state: AccountState, limit_micros: int, now_us: int) -> None:
        self.publish(
            topics.NOTICES.name,
            state.account_id,
            Notice(kind, state.account_id, to_text(now_us), state.balance_micros, limit_micros),  # type: ignore[arg-type]
        )

    def _ends(self, rated_service: str, attempt_service: str) -> bool:
        """Whether a CDR is the call's own, not that of a recording made of it."""
        routed = self.settings.routed_services
        return rated_service == attempt_service or (rated_service in routed and attempt_service in routed)

    def _sums(self, provider_id: str | None, destination: str) -> Sums:
        sums = self._traffic.get((provider_id, destination))
        if sums is None:
            sums = self._traffic[provider_id, destination] = Sums()
        return sums

    # What time does

    def expire(self) -> None:
        """Ends the calls whose holds have expired by the clock."""
        expiries, clock_us = self._expiries, self.clock_us
        while expiries and expiries[0][0] <= clock_us:
            expires_us, attempt_id = heappop(expiries)
            call = self.calls.get(attempt_id)
            # An extended call has a later entry of its own.
            if call is not None and call.phase == "running" and call.expires_us == expires_us:
                self.apply_end(call, "expired", expires_us)

    def forget_ids(self) -> None:
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

    # The end of a batch

    def close_batch(self) -> None:
        """Publishes what is told once a batch: balances and counters that changed, and the traffic's sums."""
        for account_id, state in self._touched.items():
            self.publish(topics.ACCOUNT_BALANCES.name, account_id, balance(state, self.reference.accounts[account_id]))
        for (number, day), counter in self._counted.items():
            self.publish(topics.NUMBER_NCV.name, f"{number}/{day}", counter.fact())
        at = to_text(self.clock_us)
        for (provider_id, destination), sums in self._traffic.items():
            fact = sums.fact(provider_id, destination, at)
            self.publish(topics.TRAFFIC.name, f"{provider_id or ''}/{destination}", fact)
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

    # A new owner

    def restore(self, records: Mapping[bytes, bytes], clock_us: int) -> None:
        """Takes in the changelog: the latest record of each key, without the position.

        AssertionError when the holds do not add up to what the accounts hold: the state is lost and must be rebuilt.
        """
        assert not self.accounts, "a partition is restored once, before its first event"
        assert not self.calls, "a partition is restored once, before its first event"
        self.clock_us = clock_us
        found = restored(records)
        self.accounts, self.calls, self.counters = found.accounts, found.calls, found.counters
        self._seen_cdrs, self._seen_commands = found.seen_cdrs, found.seen_commands
        self._expiries, self._forget, self._forget_counters = found.expiries, found.forget, found.forget_counters
        self.running_calls = len(found.expiries)
        self.held_micros = sum(state.held_micros for state in found.accounts.values())

"""Price lists on their way into force (§2.3): uploaded as versions, looked at, approved, published from a date, rolled
back. Retail lists are marketing's, wholesale lists the group b2b's, both a manager's.

    draft ── lint ──► linted ── by another ──► approved ── publish ──► scheduled ──► in force ──► superseded
      └─► discarded    (its errors end it)                  taken back: withdrawn ◄──┘       └─► rolled back: a new
                                                                                                 version of old prices

A version is uploaded once and never edited. Whoever uploaded it does not approve it (four eyes): tariffs are money.
The one who approves may publish in the same step; what is approved the uploader may publish too. To roll back takes one
person: what comes into force was seen and in force before. Nothing here asks what time it is.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta, Struct

from backoffice.access import Asker, missing
from backoffice.refusals import FieldProblem, InTheWay, NotAllowed, NotThere, Unfit
from backoffice.words import Currency, Id, Moment, Reason, Text
from schemas.reference import PriceList
from schemas.times import from_datetime, to_datetime, to_text, to_us

Kind = Literal["retail", "wholesale"]
Rounding = Literal["up", "half_up", "down"]
State = Literal["staged", "published", "withdrawn", "discarded"]
Stage = Literal["draft", "linted", "approved", "scheduled", "in_force", "superseded", "withdrawn", "discarded"]
STAGES: tuple[Stage, ...] = (
    "draft",
    "linted",
    "approved",
    "scheduled",
    "in_force",
    "superseded",
    "withdrawn",
    "discarded",
)

RIGHTS: Mapping[str, str] = {"retail": "prices.retail", "wholesale": "prices.wholesale"}
"""The permission to work on lists of a kind."""

WHOM_TO_ASK: Mapping[str, str] = {"retail": "marketing", "wholesale": "b2b"}


class Terms(Struct, frozen=True, kw_only=True):
    """A list without its prices, as it is to be. What is left out stays as in the list's latest version; of a new list
    `kind`, `currency`, `rounding` and `decimals` must be said, and whose prices they are if it is wholesale."""

    name: Text | None = None
    kind: Kind | None = None
    provider_id: Id | None = None
    """Wholesale: whose prices; retail: for calls through this provider only. `-` takes it off a retail list."""
    currency: Currency | None = None
    rounding: Rounding | None = None
    decimals: Annotated[int, Meta(ge=0, le=6)] | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None


class Publication(Struct, frozen=True, forbid_unknown_fields=True):
    """From when on a version is to be in force; now if left out."""

    reason: Reason
    in_force_from: Moment | None = None


class RollBack(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a version is rolled back, and to which one of the list (the one before it if left out)."""

    reason: Reason
    to: Annotated[int, Meta(ge=1)] | None = None


class Why(Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done."""

    reason: Reason


class LintState(Struct, frozen=True):
    """The latest lint of a version."""

    state: Literal["running", "done", "failed"]
    errors: int
    warnings: int
    notes: int


class Version(Struct, frozen=True):
    """A version of a price list, without its prices."""

    price_list_id: str
    version_id: int
    number: int
    """Among those of the list."""
    kind: Kind
    state: State
    name: str
    provider_id: str | None
    currency: str
    rounding: Rounding
    decimals: int
    valid_from: str | None
    valid_to: str | None
    prices: int
    digest: str | None
    source: str | None
    created_at: str
    created_by: str
    approved_at: str | None
    approved_by: str | None
    restores: int | None
    """The number of the version that this one is equal to, where it was made to roll back."""
    in_force_from: str | None
    published_at: str | None
    published_by: str | None
    ended_at: str | None
    ended_by: str | None
    ended_why: str | None
    lint: LintState | None

    def price_list(self) -> PriceList:
        """As the engine takes it."""
        return PriceList(
            self.price_list_id,
            self.name,
            self.kind,
            self.provider_id,
            self.currency,
            self.rounding,
            self.decimals,
            self.valid_from,
            self.valid_to,
        )

    @property
    def key(self) -> str:
        """As the audit names it."""
        return f"{self.price_list_id}/{self.number}"


def stage_of(version: Version, in_force: int | None, at: datetime) -> Stage:
    """Where a version stands at a moment, at which version number `in_force` of its list is in force."""
    if version.state == "withdrawn" or version.state == "discarded":
        return version.state
    if version.state == "published":
        assert version.in_force_from is not None, "what is published has its date"
        if version.number == in_force:
            return "in_force"
        return "scheduled" if to_us(version.in_force_from) > from_datetime(at) else "superseded"
    if version.approved_by is not None:
        return "approved"
    return "linted" if version.lint is not None and version.lint.state == "done" else "draft"


class Trail(Protocol):
    """The change that a use case is part of: its audit, and what the engine is told."""

    async def audit(self, entity: str, entity_id: str, action: str, before: object, after: object) -> None: ...
    async def publish(self, kind: str, key: str, payload: object) -> None: ...


class Versions(Protocol):
    """What the use cases need of the record. A list stays as it was loaded until the change is committed."""

    async def version(self, price_list_id: str, number: int) -> Version | None: ...
    async def in_force(self, price_list_id: str, at: datetime) -> Version | None:
        """The version in force at a moment."""
        ...

    async def published_before(self, version: Version) -> Version | None:
        """The version that was in force before this one, unless it was taken back."""
        ...

    async def approve(self, version: Version, at: datetime, author: str) -> None: ...
    async def publish(self, version: Version, in_force_from: datetime, at: datetime, author: str) -> None: ...
    async def discard(self, version: Version, at: datetime, author: str, why: str) -> None: ...
    async def withdraw(self, version: Version, at: datetime, author: str, why: str) -> None: ...
    async def copy(self, version: Version, at: datetime, author: str) -> Version:
        """A new version of the list, equal to this one."""
        ...

    async def has_provider(self, provider_id: str) -> bool:
        """Whether it is there and not removed."""
        ...

    async def other_currency(self, currency: str) -> str | None:
        """Another currency that accounts or lists have; None where there is none."""
        ...


class Now(NamedTuple):
    """Who does it, when, and why."""

    asker: Asker
    at: datetime
    reason: str


# -- upload -----------------------------------------------------------------------------------------------------------


async def terms_of_upload(
    versions: Versions, asker: Asker, price_list_id: str, sent: Terms, latest: Version | None
) -> PriceList:
    """The list that is uploaded, without its prices. `latest`: its latest version, whatever became of it.

    Raises Unfit, InTheWay, NotAllowed.
    """
    kind = sent.kind or (None if latest is None else latest.kind)
    if kind is not None:
        must_work_on(kind, asker)
    if latest is not None and sent.kind not in (None, latest.kind):
        raise InTheWay(f"price list {price_list_id!r} is a {latest.kind} list and stays one; take another id")
    problems = [
        FieldProblem(f"/{field}", "is missing: the list is new")
        for field in ("kind", "currency", "rounding", "decimals")
        if latest is None and getattr(sent, field) is None
    ]
    provider_id = sent.provider_id or (None if latest is None else latest.provider_id)
    if provider_id == "-":
        provider_id = None
    if kind == "wholesale" and provider_id is None:
        problems.append(FieldProblem("/provider_id", "is missing: whose prices are they?"))
    if provider_id is not None and not await versions.has_provider(provider_id):
        problems.append(FieldProblem("/provider_id", f"there is no provider {provider_id!r}; enter it first"))
    moments = {}
    for field in ("valid_from", "valid_to"):
        text = getattr(sent, field) or (None if latest is None else getattr(latest, field))
        try:
            moments[field] = None if text is None else to_text(to_us(text))
        except ValueError as error:
            problems.append(FieldProblem(f"/{field}", str(error)))
    begin, end = moments.get("valid_from"), moments.get("valid_to")
    if begin is not None and end is not None and end <= begin:
        problems.append(FieldProblem("/valid_to", "is not after valid_from"))
    currency = sent.currency or (None if latest is None else latest.currency)
    if currency is not None and (other := await versions.other_currency(currency)) is not None:
        problems.append(FieldProblem("/currency", f"accounts and lists are in {other}: one operator has one currency"))
    if problems:
        raise Unfit(problems)
    rounding = sent.rounding or (None if latest is None else latest.rounding)
    decimals = sent.decimals if sent.decimals is not None else (None if latest is None else latest.decimals)
    assert kind is not None and currency is not None and rounding is not None and decimals is not None  # noqa: PT018
    return PriceList(
        price_list_id,
        sent.name or (price_list_id if latest is None else latest.name),
        kind,
        provider_id,
        currency,
        rounding,
        decimals,
        begin,
        end,
    )


def check_list_id(price_list_id: str) -> None:
    """Raises Unfit for what can't be a list's id."""
    try:
        msgspec.convert(price_list_id, Id)
    except msgspec.ValidationError:
        raise Unfit(
            [FieldProblem("", f"{price_list_id[:80]!r} can't be an id: 1 to 64 characters of one line")]
        ) from None


def check_has_prices(version: Version) -> None:
    """Raises InTheWay where there is nothing to look at."""
    if version.state == "discarded":
        raise InTheWay(f"version {version.key} was discarded, and its prices are gone")


def must_work_on(kind: str, asker: Asker) -> None:
    """Raises NotAllowed, which names who looks after lists of the kind (§2.3)."""
    if not asker.may(RIGHTS[kind]):
        refused = missing(RIGHTS[kind], asker)
        raise NotAllowed(refused.text, permission=refused.permission, ask=WHOM_TO_ASK[kind])


async def note_upload(trail: Trail, version: Version) -> None:
    """Keeps in the audit that a version was uploaded."""
    await trail.audit("price_list_version", version.key, "uploaded", None, version)


# -- approve, publish -------------------------------------------------------------------------------------------------


async def approve(versions: Versions, trail: Trail, now: Now, price_list_id: str, number: int) -> Version:
    """Somebody else than the uploader has looked at it. Raises NotThere, InTheWay, NotAllowed."""
    version = await _version(versions, price_list_id, number)
    _must_publish(version, now.asker)
    _check_approvable(version)
    if version.approved_by is not None:
        raise InTheWay(f"version {version.key} is approved already, by {version.approved_by}")
    return await _approve(versions, trail, now, version)


async def publish(
    versions: Versions, trail: Trail, now: Now, price_list_id: str, number: int, in_force_from: str | None
) -> Version:
    """Publishes a version from a moment on (now if left out), and approves it too if the uploader is somebody else.

    Raises NotThere, InTheWay, NotAllowed, Unfit.
    """
    version = await _version(versions, price_list_id, number)
    _must_publish(version, now.asker)
    _check_approvable(version)
    try:
        since = now.at if in_force_from is None else to_datetime(to_us(in_force_from))
    except ValueError as error:
        raise Unfit([FieldProblem("/in_force_from", str(error))]) from None
    if since < now.at:
        raise Unfit(
            [
                FieldProblem(
                    "/in_force_from",
                    "is over: calls of the past keep the prices that they were promised; leave it out for now, or "
                    "re-rate the calls",
                )
            ]
        )
    if version.provider_id is not None and not await versions.has_provider(version.provider_id):
        raise InTheWay(f"provider {version.provider_id!r} is not there any more")
    if version.approved_by is None:
        version = await _approve(versions, trail, now, version)
    await versions.publish(version, since, now.at, now.asker.actor)
    published = await _version(versions, price_list_id, number)
    await trail.audit("price_list_version", version.key, "published", version, published)
    await _tell_engine(trail, published)
    return published


def _check_approvable(version: Version) -> None:
    if version.state != "staged":
        raise InTheWay(f"version {version.key} is {version.state}: it can't be published (any more)")
    if version.lint is None or version.lint.state != "done":
        under_way = " (it is under way)" if version.lint is not None and version.lint.state == "running" else ""
        raise InTheWay(
            f"version {version.key} was not linted{under_way}: lint it, look at what that found, then come back"
        )
    if version.lint.errors:
        raise InTheWay(
            f"the lint found {version.lint.errors} errors in version {version.key}: mend them and upload it again"
        )


async def _approve(versions: Versions, trail: Trail, now: Now, version: Version) -> Version:
    if now.asker.user == version.created_by:
        raise NotAllowed(
            f"version {version.key} was uploaded by you: somebody else has to look at it before it is published",
            permission="prices.publish",
            ask=f"a colleague of {WHOM_TO_ASK[version.kind]}, or a manager",
        )
    await versions.approve(version, now.at, now.asker.actor)
    approved = await _version(versions, version.price_list_id, version.number)
    await trail.audit("price_list_version", version.key, "approved", version, approved)
    return approved


async def _tell_engine(trail: Trail, version: Version) -> None:
    # The relay reads the version from the record: when it is to come into force, and whether it was taken back since.
    await trail.publish("price_list", version.price_list_id, {"version_id": version.version_id})


# -- take back --------------------------------------------------------------------------------------------------------


async def discard(versions: Versions, trail: Trail, now: Now, price_list_id: str, number: int) -> Version:
    """A draft is not wanted any more. Raises NotThere, InTheWay, NotAllowed."""
    version = await _version(versions, price_list_id, number)
    must_work_on(version.kind, now.asker)
    if version.state != "staged":
        raise InTheWay(f"version {version.key} is {version.state}: only what was never published can be discarded")
    await versions.discard(version, now.at, now.asker.actor, now.reason)
    discarded = await _version(versions, price_list_id, number)
    await trail.audit("price_list_version", version.key, "discarded", version, discarded)
    return discarded


async def roll_back(
    versions: Versions, trail: Trail, now: Now, price_list_id: str, number: int, to: int | None = None
) -> Version:
    """Takes back what was published; the version that counts then.

    One that has not come into force yet never will. For one that is in force a new version equal to the one before it
    (or to number `to`) comes into force now; what calls were promised in between stays promised. Raises NotThere,
    InTheWay, NotAllowed.
    """
    version = await _version(versions, price_list_id, number)
    _must_publish(version, now.asker)
    if version.state != "published":
        raise InTheWay(f"version {version.key} is {version.state}: there is nothing to roll back")
    in_force = await versions.in_force(price_list_id, now.at)
    stage = stage_of(version, None if in_force is None else in_force.number, now.at)
    if stage == "scheduled":
        if to is not None:
            raise InTheWay(f"version {version.key} is not in force yet: it is taken back, to no other version")
        await versions.withdraw(version, now.at, now.asker.actor, now.reason)
        withdrawn = await _version(versions, price_list_id, number)
        await trail.audit("price_list_version", version.key, "withdrawn", version, withdrawn)
        return withdrawn
    if stage != "in_force":
        assert in_force is not None, "something came into force after what is superseded"
        raise InTheWay(f"version {version.key} is superseded: roll back version {in_force.key}, which is in force")
    target = await _target(versions, version, to)
    copied = await versions.copy(target, now.at, now.asker.actor)
    await versions.publish(copied, now.at, now.at, now.asker.actor)
    restored = await _version(versions, price_list_id, copied.number)
    await trail.audit("price_list_version", restored.key, "rolled back", version, restored)
    await _tell_engine(trail, restored)
    return restored


async def _target(versions: Versions, version: Version, to: int | None) -> Version:
    if to is not None:
        target = await _version(versions, version.price_list_id, to)
        if target.in_force_from is None or target.number == version.number:
            raise InTheWay(f"version {target.key} was never in force before: roll back to one that was")
        return target
    if version.restores is not None:
        raise InTheWay(f"version {version.key} rolled back another one itself: say which version to go to")
    found = await versions.published_before(version)
    if found is None:
        raise InTheWay(f"version {version.key} is the first of its list: publish another one instead")
    return found


# -- common -----------------------------------------------------------------------------------------------------------


async def _version(versions: Versions, price_list_id: str, number: int) -> Version:
    found = await versions.version(price_list_id, number)
    if found is None:
        raise NotThere("price list version", f"{price_list_id}/{number}")
    return found


def _must_publish(version: Version, asker: Asker) -> None:
    asker.must("prices.publish")
    must_work_on(version.kind, asker)

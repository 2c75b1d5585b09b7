"""Requests to release a number: asked, passed to the client, answered, taken back (§1.4). `forcing.py` has the rules.

Each use case locks the number first, decides by what is there, and saves: row, audit, and for the engine the number.
"""

from msgspec.structs import replace

from backoffice.access import Asker
from backoffice.numbers.availability import WORDS, availability, may_be_sold
from backoffice.numbers.forcing import (
    DESK_WORDS,
    OPEN,
    Answer,
    Callers,
    ClientAsked,
    Consent,
    ConsentSent,
    Department,
    Desk,
    DirectManagerSent,
    Employee,
    Forcing,
    Group,
    GroupSent,
    ReleaseAsked,
    ReleaseRequest,
    Route,
    department_of,
    route_of,
)
from backoffice.numbers.settings import NumbersSettings
from backoffice.numbers.states import force
from backoffice.office import Trail
from backoffice.refusals import FieldProblem, InTheWay, NotAllowed, NotThere, Unfit
from engine.ncv import Sign
from schemas.reference import Number

# -- asking -----------------------------------------------------------------------------------------------------------


async def ask(
    record: Forcing,
    trail: Trail,
    who: Asker,
    number: str,
    sent: ReleaseAsked,
    *,
    request_id: str,
    now: str,
    today: str,
    settings: NumbersSettings,
) -> ReleaseRequest:
    """Asks that a number be released; the letters that the guide wants are written with it.

    Raises NotThere; InTheWay for a number that is for sale already, is sold, or was asked for already, and where nobody
    could answer; Unfit where a client is needed and missing.
    """
    who.must("numbers.ask")
    found = await record.number(number)
    if found is None:
        raise NotThere("number", number)
    sign = await record.sign(found)
    _can_be_forced(found, sign)
    if (there := await record.open_request(number)) is not None:
        raise InTheWay(f"{there.asked_by} has asked for number {number} already: request {there.request_id}")
    callers = await record.callers(found)
    route = await _route(record, department_of(who.role), found, callers, settings)
    request = ReleaseRequest(
        request_id=request_id,
        number=number,
        state="waiting",
        department=department_of(who.role),
        desk=route.desk,
        asked_at=now,
        asked_on=today,
        asked_by=who.user,
        reason=sent.reason,
        calls=callers.calls,
        unique_callers=callers.unique,
        criterion="depends_on_ncv" if found.saleable == "forced_yes" else found.saleable,
        client_id=sent.client_id,
    )
    if route.consent:
        if sent.client_id is None:
            raise Unfit([FieldProblem("/client_id", _why_consent(callers, settings) + ": say which client")])
        request = await _ask_client(record, request, sent.client_id, callers)
    else:
        if sent.client_id is not None:
            await record.client_email(sent.client_id)
        request = await _told_desk(record, request, route, WORDS[availability(found, sign)])
    await record.save_request(request)
    await trail.audit("number_request", request_id, "asked", None, request)
    return request


async def ask_client(
    record: Forcing, trail: Trail, who: Asker, request_id: str, sent: ClientAsked, settings: NumbersSettings
) -> ReleaseRequest:
    """Writes to a client for the agreement that has become necessary since the request was made (D15)."""
    who.must("numbers.ask")
    before, number = await _open(record, request_id)
    callers = await record.callers(number)
    if callers.unique < settings.consent_callers:
        raise InTheWay(f"{callers.unique} unique callers called number {number.number}: no client need agree to that")
    after = await _ask_client(record, before, sent.client_id, callers)
    await _saved(record, trail, before, after, "client_asked")
    return after


async def consent(
    record: Forcing, trail: Trail, who: Asker, request_id: str, sent: ConsentSent, *, now: str, today: str
) -> ReleaseRequest:
    """Records what the client has written, and passes the request on to its desk (R1.4-38, R1.4-40)."""
    who.must("numbers.ask")
    before, number = await _open(record, request_id)
    if before.told_callers is None:
        raise InTheWay("the client was not asked yet: the letter must name the count of unwanted calls")
    given_on = sent.given_on or today
    if given_on > today:
        raise Unfit([FieldProblem("/given_on", f"lies in the future: it is {today}")])
    if given_on < before.asked_on:
        raise Unfit([FieldProblem("/given_on", f"lies before {before.asked_on}, when the number was asked for")])
    given = Consent(sent.text, sent.given_by, given_on, sent.document, now, who.user)
    after = replace(before, state="waiting", consent=given)
    if before.state == "waiting_for_client":
        words = WORDS[availability(number, await record.sign(number))]
        after = await _told_desk(record, after, Route(after.desk, consent=True, copy_to_head=False), words)
    await _saved(record, trail, before, after, "client_agreed")
    return after


# -- answering --------------------------------------------------------------------------------------------------------


async def approve(
    record: Forcing, trail: Trail, who: Asker, request_id: str, sent: Answer, *, now: str, settings: NumbersSettings
) -> ReleaseRequest:
    """Forces the number: from now on it is for sale, until that sale is done or has fallen through.

    Raises NotThere, NotAllowed for whoever the request does not go to, InTheWay where consent is missing.
    """
    before, number = await _open(record, request_id)
    callers = await record.callers(number)
    route = await _route(record, before.department, number, callers, settings)
    await _may_answer(record, who, before, route.desk)
    if route.consent and before.consent is None:
        raise InTheWay(
            f"{_why_consent(callers, settings)}, and no agreement is recorded with request {request_id}: "
            "ask the client, and record what was written"
        )
    _can_be_forced(number, await record.sign(number))
    after_number = force(number)
    after = replace(
        before,
        state="approved",
        desk=route.desk,
        # What was forced before falls back to what it was before that.
        criterion=before.criterion if number.saleable == "forced_yes" else number.saleable,
        decided_at=now,
        decided_by=who.user,
        decision=sent.reason,
        decided_callers=callers.unique,
    )
    # The record takes a forced number only with its approval.
    await _saved(record, trail, before, after, "approved")
    await record.save_number(after_number)
    await trail.audit("number", number.number, "forced", number, after_number)
    await trail.publish("number", number.number, after_number)
    return after


async def refuse(
    record: Forcing, trail: Trail, who: Asker, request_id: str, sent: Answer, *, now: str, settings: NumbersSettings
) -> ReleaseRequest:
    """Says no, with the reason. By whoever could have said yes."""
    before, number = await _open(record, request_id)
    route = await _route(record, before.department, number, await record.callers(number), settings)
    await _may_answer(record, who, before, route.desk)
    after = replace(before, state="refused", decided_at=now, decided_by=who.user, decision=sent.reason)
    await _saved(record, trail, before, after, "refused")
    return after


async def withdraw(
    record: Forcing, trail: Trail, who: Asker, request_id: str, sent: Answer, *, now: str
) -> ReleaseRequest:
    """Takes a request back. By whoever made it."""
    who.must("numbers.ask")
    before, _ = await _open(record, request_id)
    if before.asked_by != who.user:
        raise NotAllowed(
            f"request {request_id} is {before.asked_by}'s: who has not made it may approve or refuse it, as the desk "
            "that it goes to",
            permission="numbers.ask",
            ask=before.asked_by,
        )
    after = replace(before, state="withdrawn", decided_at=now, decided_by=who.user, decision=sent.reason)
    await _saved(record, trail, before, after, "withdrawn")
    return after


# -- who answers ------------------------------------------------------------------------------------------------------


async def put_group(record: Forcing, trail: Trail, who: Asker, group: Group, sent: GroupSent) -> tuple[str, ...]:
    """Makes these the members of a group. Raises Unfit for who is no user here."""
    who.must("numbers.change")
    members = tuple(dict.fromkeys(sent.members))
    problems = [
        FieldProblem(f"/members/{place}", f"there is no user {name!r}")
        for place, name in enumerate(members)
        if await record.employee(name) is None
    ]
    if problems:
        raise Unfit(problems)
    before = tuple(one.name for one in await record.group(group))
    await record.set_group(group, members)
    await trail.audit("number_group", group, "changed", {"members": sorted(before)}, {"members": sorted(members)})
    return tuple(sorted(members))


async def put_direct_manager(record: Forcing, trail: Trail, who: Asker, user: str, sent: DirectManagerSent) -> None:
    """Says who answers a colleague's requests. Raises NotThere, Unfit."""
    who.must("numbers.change")
    if await record.employee(user) is None:
        raise NotThere("user", user)
    if sent.manager == user:
        raise Unfit([FieldProblem("/manager", "nobody is his or her own manager")])
    if sent.manager is not None and await record.employee(sent.manager) is None:
        raise Unfit([FieldProblem("/manager", f"there is no user {sent.manager!r}")])
    before = await record.direct_manager(user)
    await record.set_direct_manager(user, sent.manager)
    told = None if before is None else {"manager": before.name}
    await trail.audit("direct_manager", user, "changed", told, {"manager": sent.manager})


async def answerers(record: Forcing, request: ReleaseRequest, desk: Desk) -> tuple[Employee, ...]:
    """Who may answer a request: the members of its desk that are enabled, without who has made it."""
    if desk == "direct_manager":
        manager = await record.direct_manager(request.asked_by)
        found: tuple[Employee, ...] = () if manager is None else (manager,)
    else:
        found = await record.group(desk)
    return tuple(one for one in found if one.enabled and one.name != request.asked_by)


async def _may_answer(record: Forcing, who: Asker, request: ReleaseRequest, desk: Desk) -> None:
    who.must("numbers.release")
    if who.user == request.asked_by:
        raise NotAllowed(
            f"request {request.request_id} is your own: nobody approves what he or she asked for",
            permission="numbers.release",
            ask=DESK_WORDS[desk],
        )
    may = await answerers(record, request, desk)
    if who.user not in [one.name for one in may]:
        names = ", ".join(one.name for one in may) or "nobody is in it yet: a manager enters who is"
        raise NotAllowed(
            f"request {request.request_id} goes to {DESK_WORDS[desk]} ({names})",
            permission="numbers.release",
            ask=names,
        )


# -- parts ------------------------------------------------------------------------------------------------------------


async def _route(
    record: Forcing, department: Department, number: Number, callers: Callers, settings: NumbersSettings
) -> Route:
    provider = None if number.provider_id is None else await record.provider(number.provider_id)
    own = provider is not None and provider.own
    return route_of(department, callers.unique, own_number=own, consent_from=settings.consent_callers)


async def _open(record: Forcing, request_id: str) -> tuple[ReleaseRequest, Number]:
    request = await record.request(request_id)
    if request is None:
        raise NotThere("request", request_id)
    # The number first, as everywhere: who holds its row decides.
    number = await record.number(request.number)
    request = await record.request(request_id)
    assert request is not None
    if number is None:
        raise NotThere("number", request.number)
    if request.state not in OPEN:
        raise InTheWay(f"request {request_id} is {request.state} already, by {request.decided_by}")
    return request, number


def _can_be_forced(number: Number, sign: Sign) -> None:
    if may_be_sold(number, sign):
        raise InTheWay(f"number {number.number} is for sale already: {WORDS[availability(number, sign)]}")
    if number.status not in ("free", "archive"):
        raise InTheWay(f"number {number.number} is {number.status}: only a free or an archived one can be released")


def _why_consent(callers: Callers, settings: NumbersSettings) -> str:
    return (
        f"{callers.unique} unique callers called the number, and from {settings.consent_callers} on the client must "
        "agree in writing"
    )


async def _ask_client(record: Forcing, request: ReleaseRequest, client_id: str, callers: Callers) -> ReleaseRequest:
    address = await record.client_email(client_id)
    if address is None:
        raise InTheWay(f"client {client_id!r} has no e-mail address: enter one, or the letter can't be written")
    await record.letter(
        f"{request.request_id}/client/{callers.unique}",
        address,
        (),
        f"Номер {request.number}: нецелевые звонки",
        f"На номер {request.number} поступают звонки, предназначенные прежнему владельцу: за последние дни "
        f"{callers.calls} с {callers.unique} уникальных номеров. Просим письменно подтвердить, что Вы согласны "
        "получить этот номер.\n",
        client_id,
    )
    return replace(request, state="waiting_for_client", client_id=client_id, told_callers=callers.unique, consent=None)


async def _told_desk(record: Forcing, request: ReleaseRequest, route: Route, why: str) -> ReleaseRequest:
    """Writes to whoever is to answer. Raises InTheWay where nobody is there, or the head can't get a copy (R1.4-39)."""
    to = await answerers(record, request, route.desk)
    if not to:
        raise InTheWay(
            f"nobody can answer: {DESK_WORDS[route.desk]} of {request.asked_by} is not entered, or disabled; a manager "
            "enters who it is (PUT /api/number-groups, /api/direct-managers)"
        )
    copy: Employee | None = None
    if route.copy_to_head:
        heads = [one for one in await record.group("heads") if one.enabled and one.email is not None]
        if not heads:
            raise InTheWay("the head must get a copy, and no head with an e-mail address is entered")
        copy = heads[0]
        request = replace(request, copy_to=copy.name)
    addresses = [one.email for one in to if one.email is not None]
    copies = [] if copy is None or copy.email is None else [copy.email]
    if addresses or copies:
        first, *others = addresses or copies
        await record.letter(
            f"{request.request_id}/desk/{request.state}",
            first,
            tuple(dict.fromkeys([*others, *(one for one in copies if one != first)])),
            f"Просьба вывести в продажу номер {request.number}",
            f"{request.asked_by} просит вывести в продажу номер {request.number} ({why}).\n\n{request.reason}\n\n"
            f"Нецелевых звонков: {request.calls}, с уникальных номеров: {request.unique_callers}.\n"
            + ("" if request.consent is None else f"Согласие клиента: {request.consent.text}\n"),
            request.client_id,
        )
    return request


async def _saved(record: Forcing, trail: Trail, before: ReleaseRequest, after: ReleaseRequest, action: str) -> None:
    await record.save_request(after)
    await trail.audit("number_request", after.request_id, action, before, after)

"""The tariff check (§2.3): may a call be rated, through whom, at which prices; if not, what is missing and whom to ask.

It is asked of the record, as of any moment: what it says of now the engine does within a second. A price list that is
staged may be put in the place of the one in force, to see what would become of a number.
"""

from typing import Annotated

from msgspec import Meta, Struct

from backoffice.locks import number_or_direction
from backoffice.refusals import NotThere
from backoffice.tariff_check import DEFAULT_INCOMING, NotKnown, TariffCheck, check_tariff
from backoffice.words import END, Id, Moment, shaped
from connectors.convert.common import NumberRule
from connectors.http.call import Call
from connectors.http.problems import ErrorAt, unfit
from connectors.http.reading import moment_of
from connectors.http.route import get
from connectors.postgres import reference
from connectors.postgres.current import incoming_services, places, tables_of_number
from connectors.postgres.price_versions import VersionRecord
from connectors.postgres.queries import sql
from schemas.events import FORWARDING, OUTGOING
from schemas.reference import PriceList
from schemas.times import from_datetime, to_text

e164 = NumberRule().e164
"""Numbers as people type them, in E.164 digits (D31)."""

Entered = Annotated[str, Meta(min_length=1, max_length=40, examples=["+381 11 411 20 60", "38111XXXXXX"])]

StagedList = Annotated[
    str,
    shaped(
        r"^.{1,64}/[0-9]{1,9}" + END,
        "is no version of a price list; write the list and the version's number as R-1/3",
        examples=["R-1/3"],
    ),
]
"""A version of a price list, `<list>/<number>`, to be taken in the place of the one in force."""


class TariffQuestion(Struct, frozen=True):
    """The form of §2.3. All fields but the incoming service must be filled in; emptied, it shows all providers."""

    number: Entered
    """1. A prefix or a number, as people type it."""
    account_id: Id
    """2. The client's account."""
    tariff_plan_id: Id
    """3. The tariff plan."""
    service: Annotated[str, Meta(min_length=1, max_length=64, examples=[OUTGOING, FORWARDING])]
    """5. The rated service: an outgoing call, or call forwarding."""
    place: Id
    """6. The place of service."""
    incoming_service: Annotated[str, Meta(max_length=64)] = DEFAULT_INCOMING
    """4. What the call came in by: «Входящий внутриофисный вызов» (for ПДГИ providers) unless said otherwise."""
    at: Moment | None = None
    """When the call is set up; now if left out."""
    staged: Annotated[tuple[StagedList, ...], Meta(max_length=20)] = ()


class PriceShown(Struct, frozen=True):
    """A price. Money in micro-units; the first minute exactly, in units of the currency, as a fraction."""

    price_list_id: str
    price_list_name: str
    prefix: str
    price_micros: int
    per_seconds: int
    step_seconds: int
    connect_fee_micros: int
    first_minute: str


class ProviderShown(Struct, frozen=True):
    """A provider with both prices; what is missing (`wholesale`, `retail`) and whom to ask (`b2b`, `marketing`)."""

    provider_id: str
    name: str
    pdgi: bool
    wholesale: PriceShown | None
    retail: PriceShown | None
    missing: tuple[str, ...]
    ask: tuple[str, ...]
    locks: tuple[str, ...]
    would_carry: bool


class LongerShown(Struct, frozen=True):
    """How many longer prefixes of the one asked about a list has prices of; a thousand stands for more, too."""

    price_list_id: str
    prefixes: int


class TariffAnswer(Struct, frozen=True):
    """What the form shows. `reasons` are those that a denied call would have; `verdict` says it in words."""

    number: str
    """In E.164 digits."""
    account_id: str
    tariff_plan_id: str
    service: str
    incoming_service: str | None
    """Null: whatever the call came in by."""
    place: str | None
    at: Moment
    providers: tuple[ProviderShown, ...]
    not_shown: tuple[str, ...]
    """Providers that are no ПДГИ ones, with the incoming service that shows those only."""
    longer: tuple[LongerShown, ...]
    would_be_rated: bool
    reasons: tuple[str, ...]
    verdict: str
    emergency: bool
    """Whether calls to it always pass, free: then no provider is asked."""


class Option(Struct, frozen=True):
    """A word that a field may have, and how people call it."""

    value: str
    name: str


class TariffOptions(Struct, frozen=True):
    """What the form's fields may be filled in with."""

    services: tuple[Option, ...]
    incoming_services: tuple[Option, ...]
    """The first one is preset; an emptied field shows all providers."""
    places: tuple[str, ...]
    tariff_plans: tuple[str, ...]


@get("/api/tariff-check/options", requires="tariffs.check", summary="What the fields of the tariff check may be (§2.3)")
async def tariff_options(call: Call) -> TariffOptions:
    plans = await reference.read_tariff_plans(call.pool)
    return TariffOptions(
        services=(Option(OUTGOING, "Исходящий вызов"), Option(FORWARDING, "Переадресация звонков")),
        incoming_services=(
            Option(DEFAULT_INCOMING, "Входящий внутриофисный вызов"),
            Option("incoming", "Входящий вызов"),
            Option(FORWARDING, "Переадресация звонков"),
        ),
        places=tuple([row["place"] for row in await call.pool.fetch(sql("price_versions/places"))]),
        tariff_plans=tuple(plans),
    )


@get(
    "/api/tariff-check",
    requires="tariffs.check",
    summary="Whether and at what price a call would be rated, at every provider (§2.3)",
    problems=(404,),
)
async def tariff_check(call: Call, asked: TariffQuestion) -> TariffAnswer:
    digits = _digits(asked.number)
    at = moment_of(asked.at, "at") or call.now
    async with reference.snapshot(call.pool) as connection:
        staged: dict[str, tuple[int, PriceList]] = {}
        for name in asked.staged:
            list_id, _, number = name.rpartition("/")
            version = await VersionRecord(connection).version(list_id, int(number))
            if version is None or version.state == "discarded":
                raise NotThere("price list version", name)
            staged[list_id] = (version.version_id, version.price_list())
        found = await tables_of_number(connection, digits, asked.account_id, at=at, staged=staged)
        known_places = await places(connection, found)
    try:
        answer = check_tariff(
            call.services.engine,
            found.reference,
            digits=digits,
            account_id=asked.account_id,
            at_us=from_datetime(at),
            tariff_plan_id=asked.tariff_plan_id,
            service=asked.service,
            incoming_service=asked.incoming_service or None,
            place=asked.place,
            longer=found.longer,
            places=known_places,
            incoming_services=incoming_services(found),
        )
    except NotKnown as unknown:
        if unknown.field == "account_id":
            raise NotThere("account", asked.account_id) from None
        if unknown.field == "tariff_plan_id":
            raise NotThere("tariff plan", asked.tariff_plan_id) from None
        raise unfit(ErrorAt(str(unknown), parameter=unknown.field)) from None
    return shown(answer, to_text(from_datetime(at)))


def _digits(entered: str) -> str:
    try:
        return number_or_direction(entered, e164)
    except ValueError as error:
        raise unfit(ErrorAt(str(error), parameter="number")) from None


def shown(answer: TariffCheck, at: str) -> TariffAnswer:
    """The check's answer as the API gives it."""
    return TariffAnswer(
        answer.digits,
        answer.account_id,
        answer.tariff_plan_id,
        answer.service,
        answer.incoming_service,
        answer.place,
        at,
        tuple(
            [
                ProviderShown(
                    one.provider_id,
                    one.name,
                    one.pdgi,
                    None if one.wholesale is None else PriceShown(*one.wholesale),
                    None if one.retail is None else PriceShown(*one.retail),
                    one.missing,
                    one.ask,
                    one.locks,
                    one.would_carry,
                )
                for one in answer.providers
            ]
        ),
        answer.not_shown,
        tuple([LongerShown(*one) for one in answer.longer]),
        answer.would_be_rated,
        answer.reasons,
        answer.verdict,
        answer.emergency,
    )


ROUTES = (tariff_options, tariff_check)

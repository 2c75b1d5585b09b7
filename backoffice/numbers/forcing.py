"""A number that is not for sale and is wanted all the same: a request, its queue, approvals, consent (§1.4, steps 3-6).

Whose queue it goes to depends on who asks, on the unique callers of the last days, and on whose number it is:

    sales               fewer than 6    the assistants
    sales               6 and more      the client agrees in writing, then the assistants
    customer service    fewer than 6    the asker's direct manager, with a copy to the head
    customer service    6 and more      the client agrees in writing, then the direct manager
    sales, number of another provider   its keeper instead of the assistants, whatever the callers (D16)

Callers are counted when it is asked and again when it is answered: who has come to 6 meanwhile needs the consent (D15).
Nobody answers a request of his or her own. Here are the rules and the words; `requests.py` has the use cases.
"""

from typing import Annotated, Literal, NamedTuple, Protocol

from msgspec import Meta, Struct

from backoffice.access import Role
from backoffice.words import Day, Id, Line, Reason, Text
from engine.ncv import Sign
from schemas.reference import Number, Provider, Saleable

Department = Literal["sales", "customer_service"]
Desk = Literal["assistants", "keepers", "direct_manager"]
Group = Literal["assistants", "keepers", "heads"]
RequestState = Literal["waiting_for_client", "waiting", "approved", "refused", "withdrawn"]

OPEN: frozenset[RequestState] = frozenset({"waiting_for_client", "waiting"})

DESK_WORDS = {
    "assistants": "the assistants («Ассистенты»)",
    "keepers": "the keepers of other providers' numbers",
    "direct_manager": "the direct manager",
}


class Callers(NamedTuple):
    """Unwanted calls of the window: how many, from how many unique callers; those without a number are one of them."""

    calls: int
    unique: int
    without_number: int = 0


class Route(NamedTuple):
    """The way that a request must go."""

    desk: Desk
    consent: bool
    """Whether the client must agree first."""
    copy_to_head: bool


def department_of(role: Role) -> Department:
    """On which side of the house a request is made: who does not sell looks after customers."""
    return "sales" if role == "sales" else "customer_service"


def route_of(department: Department, unique_callers: int, *, own_number: bool, consent_from: int = 6) -> Route:
    """The way of a request (R1.4-36 to R1.4-44)."""
    consent = unique_callers >= consent_from
    if department == "customer_service":
        return Route("direct_manager", consent, copy_to_head=not consent)
    return Route("assistants" if own_number else "keepers", consent, copy_to_head=False)


# -- what is sent -----------------------------------------------------------------------------------------------------


class _Sent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is sent: strict about its fields."""


class ReleaseAsked(_Sent, frozen=True):
    """That a number be released for sale."""

    reason: Reason
    client_id: Id | None = None
    """Who wants it. Needed from 6 unique callers on: this client is asked to agree."""


class ClientAsked(_Sent, frozen=True):
    """Which client is to be asked to agree."""

    client_id: Id
    reason: Reason = "the client is asked to agree"


class ConsentSent(_Sent, frozen=True):
    """The client's written agreement."""

    text: Annotated[Text, Meta(examples=["Согласны принимать звонки прежнего владельца"])]
    """Its words."""
    given_by: Line
    """Who wrote it."""
    given_on: Day | None = None
    """Today if left out."""
    document: Line | None = None
    """Where the paper or the letter is kept."""
    reason: Reason = "the client agreed in writing"


class Answer(_Sent, frozen=True):
    """Why a request is approved, refused or withdrawn."""

    reason: Reason


class GroupSent(_Sent, frozen=True):
    """Everyone who is in a group from now on."""

    members: Annotated[tuple[Line, ...], Meta(max_length=200)]
    reason: Reason


class DirectManagerSent(_Sent, frozen=True):
    """Who answers the requests of a colleague in customer service; null: nobody."""

    manager: Line | None
    reason: Reason


# -- what there is ----------------------------------------------------------------------------------------------------


class Consent(Struct, frozen=True):
    """A client's agreement as it was recorded."""

    text: str
    given_by: str
    given_on: str
    document: str | None
    recorded_at: str
    recorded_by: str


class ReleaseRequest(Struct, frozen=True, kw_only=True):
    """A request to release a number, with all that was decided on its way."""

    request_id: str
    number: str
    state: RequestState
    department: Department
    desk: Desk
    asked_at: str
    asked_on: str
    """The business day of `asked_at`."""
    asked_by: str
    reason: str
    calls: int
    """Unwanted calls of the window when it was asked."""
    unique_callers: int
    criterion: Saleable
    """What the number's criterion was before."""
    client_id: str | None = None
    copy_to: str | None = None
    """The head who got a copy."""
    told_callers: int | None = None
    """How many unique callers the letter to the client named."""
    consent: Consent | None = None
    decided_at: str | None = None
    decided_by: str | None = None
    decision: str | None = None
    decided_callers: int | None = None
    """Unique callers when it was approved."""
    ended_at: str | None = None
    """Until when the approval held: the sale that used it was done, or fell through."""


class Employee(NamedTuple):
    """A user of the office, as far as letters and approvals go."""

    name: str
    email: str | None
    enabled: bool


class Forcing(Protocol):
    """What the use cases ask of the record; rows are locked as they are loaded. Days are `YYYY-MM-DD`."""

    async def number(self, number: str) -> Number | None: ...
    async def save_number(self, number: Number) -> None: ...
    async def provider(self, provider_id: str) -> Provider | None: ...
    async def sign(self, number: Number) -> Sign: ...
    async def callers(self, number: Number) -> Callers:
        """Of the window that ends now."""

    async def client_email(self, client_id: str) -> str | None:
        """The contact address. Raises NotThere."""

    async def request(self, request_id: str) -> ReleaseRequest | None: ...
    async def open_request(self, number: str) -> ReleaseRequest | None: ...
    async def save_request(self, request: ReleaseRequest) -> None: ...
    async def group(self, group: Group) -> tuple[Employee, ...]: ...
    async def set_group(self, group: Group, members: tuple[str, ...]) -> None: ...
    async def direct_manager(self, user: str) -> Employee | None: ...
    async def set_direct_manager(self, user: str, manager: str | None) -> None: ...
    async def employee(self, name: str) -> Employee | None: ...
    async def letter(
        self, key: str, recipient: str, copies: tuple[str, ...], subject: str, body: str, client_id: str | None
    ) -> None:
        """A letter that waits to be sent. `key`: what it is about, so that it is written once."""

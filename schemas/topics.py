"""The topics: name, key, policy, and what each carries. One table; everything else that needs to know reads it."""

from typing import Literal, NamedTuple

from schemas.decisions import CallDecision
from schemas.events import AccountCommand, Cdr, SwitchEvent
from schemas.facts import AccountBalance, AccountMovement, Notice, NumberNcv, RejectedEvent, Traffic
from schemas.rated import RatedCdr
from schemas.reference import PublishedReference

Policy = Literal["delete", "compact", "compact,delete"]


class Topic(NamedTuple):
    """`carries` is None for the engine's own changelog. `partitioned_like_input`: as many partitions as the inputs."""

    name: str
    key: str
    policy: Policy
    carries: object | None
    partitioned_like_input: bool


CALL_ATTEMPTS = Topic(
    "call-attempts", "account id, or the called number where there is no account", "delete", SwitchEvent, True
)
CDRS = Topic("cdrs", "account id, or the called number where there is no account", "delete", Cdr, True)
ACCOUNT_COMMANDS = Topic("account-commands", "account id", "delete", AccountCommand, True)
REFERENCE = Topic(
    "reference",
    "entity kind and id, with the version where earlier ones are kept",
    "compact",
    PublishedReference,
    False,
)
CALL_DECISIONS = Topic("call-decisions", "attempt id", "delete", CallDecision, True)
RATED_CDRS = Topic("rated-cdrs", "account id, or the called number where there is no account", "delete", RatedCdr, True)
ACCOUNT_BALANCES = Topic("account-balances", "account id", "compact", AccountBalance, True)
ACCOUNT_MOVEMENTS = Topic("account-movements", "account id", "delete", AccountMovement, True)
NUMBER_NCV = Topic("number-ncv", "number and day", "compact,delete", NumberNcv, True)
REJECTED_EVENTS = Topic("rejected-events", "as it came", "delete", RejectedEvent, True)
NOTICES = Topic("notices", "account id", "delete", Notice, True)
TRAFFIC = Topic("traffic", "provider and destination", "delete", Traffic, True)
ENGINE_STATE = Topic("engine-state", "the engine's own", "compact", None, True)

INPUTS = (ACCOUNT_COMMANDS, CALL_ATTEMPTS, CDRS)
OUTPUTS = (
    CALL_DECISIONS,
    RATED_CDRS,
    ACCOUNT_BALANCES,
    ACCOUNT_MOVEMENTS,
    NUMBER_NCV,
    REJECTED_EVENTS,
    NOTICES,
    TRAFFIC,
)
ALL = (*INPUTS, REFERENCE, *OUTPUTS, ENGINE_STATE)
BY_NAME = {topic.name: topic for topic in ALL}

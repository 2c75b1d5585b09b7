"""API keys: for programs that ask in a user's name. Each may less than its user or as much, never more."""

from msgspec import Struct

from backoffice import users as rules
from backoffice.refusals import NotThere
from backoffice.users import Key, NewKeyAsked
from backoffice.words import Reason
from connectors import tokens
from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.route import get, post
from connectors.postgres.access import AccessRecord
from connectors.postgres.clock import real_now_us
from schemas.times import from_datetime, to_datetime, to_text
from schemas.words import Moment


class KeyCard(Struct, frozen=True):
    """An API key, without its secret."""

    prefix: str
    user: str
    purpose: str
    scopes: tuple[str, ...]
    created_at: Moment
    created_by: str
    expires_at: Moment
    used_at: Moment | None
    """To the minute."""
    revoked_at: Moment | None
    revoked_by: str | None
    revoked_why: str | None


class KeyWithSecret(Struct, frozen=True):
    """A new key, to be sent as `Authorization: Bearer`. It is shown once."""

    card: KeyCard
    key: str | None
    """Null in the answer to a repeated request: it was shown then."""


class KeysAsked(Struct, frozen=True):
    """Which keys: one's own, or those of others."""

    user: str | None = None
    """One's own if left out; another user's, or `*` for everyone's, needs `users.see`."""
    after: After | None = None
    limit: Limit = 100


class Revoking(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a key is to count no more."""

    reason: Reason


@get("/api/keys", requires="keys.own", summary="API keys, one's own or everyone's")
async def keys(call: Call, asked: KeysAsked) -> Page[KeyCard]:
    whose = asked.user or call.asker.user
    if whose != call.asker.user:
        call.asker.must("users.see")
    place = place_of(asked.after, str)
    found = await AccessRecord(call.pool).keys(
        None if whose == "*" else whose, "" if place is None else place[0], asked.limit + 1
    )
    return page(found, asked.limit, _card, lambda key: cursor(key.prefix))


@post("/api/keys", requires="keys.own", summary="Make an API key of one's own", status=201, shown_once=("key",))
async def make_key(call: Call, sent: NewKeyAsked) -> KeyWithSecret:
    new = tokens.new_key()
    async with call.change(f"key for: {sent.purpose}") as tx:
        record = AccessRecord(tx)
        user = await record.user(call.asker.user)
        if user is None:
            raise NotThere("user", call.asker.user)
        key = await rules.add_key(
            record,
            tx,
            call.asker.actor,
            user,
            sent,
            new.prefix,
            new.secret_hash,
            to_datetime(real_now_us()),
            within=call.asker.permissions,
        )
    return KeyWithSecret(_card(key), new.text)


@post(
    "/api/keys/{prefix:str}/revoke",
    requires="keys.own",
    summary="Revoke an API key, one's own or, with users.manage, anyone's",
    problems=(404,),
)
async def revoke_key(call: Call, prefix: str, sent: Revoking) -> KeyCard:
    async with call.change(sent.reason) as tx:
        key = await rules.revoke_key(AccessRecord(tx), tx, call.asker, prefix, sent.reason, to_datetime(real_now_us()))
    return _card(key)


def _card(key: Key) -> KeyCard:
    return KeyCard(
        key.prefix,
        key.user,
        key.purpose,
        key.scopes,
        to_text(from_datetime(key.created_at)),
        key.created_by,
        to_text(from_datetime(key.expires_at)),
        None if key.used_at is None else to_text(from_datetime(key.used_at)),
        None if key.revoked_at is None else to_text(from_datetime(key.revoked_at)),
        key.revoked_by,
        key.revoked_why,
    )


ROUTES = (keys, make_key, revoke_key)

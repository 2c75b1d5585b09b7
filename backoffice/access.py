"""Who may do what: roles, permissions, and the one table that ties them; deny by default.

Users have a role; an API key has its owner's role and, of that role's permissions, those that it was made for. The
guide's rules stand here as crosses and dots: support sees and asks, and removes no lock (§2.2); retail prices are
marketing's and wholesale prices the group b2b's (§2.3); nobody but a payment source posts a payment (§3.5); an
administrator looks after users and touches neither money nor locks.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from backoffice.refusals import NotAllowed

Role = Literal["support", "sales", "marketing", "b2b", "billing", "manager", "auditor", "administrator", "switch"]
ROLES: tuple[Role, ...] = get_args(Role)

_TABLE = """
                         sup sal mar b2b bil man aud adm swi
clients.see               x   x   x   x   x   x   x   .   .   read clients, their cards and tags
clients.change            .   x   .   .   .   x   .   .   .   enter and change clients
accounts.see              x   x   x   x   x   x   x   .   .   read accounts, their status and limits
accounts.change           .   x   .   .   x   x   .   .   .   open accounts, change their plan, place and manager
accounts.block            .   .   .   .   x   x   .   .   .   block and unblock accounts
accounts.close            .   .   .   .   .   x   .   .   .   close accounts
money.see                 x   x   .   .   x   x   x   .   .   read balances, payments, top-ups, write-offs, postings
money.pay                 .   .   .   .   x   .   .   .   .   enter payments: real money that has come
money.top_up              .   .   .   .   x   x   .   .   .   enter top-ups, opening balances, credit limits
money.write_off           .   .   .   .   x   x   .   .   .   enter write-offs
discounts.see             x   x   x   .   x   x   x   .   .   read discounts
discounts.change          .   .   .   .   x   x   .   .   .   give and end discounts
providers.see             x   x   x   x   x   x   x   .   x   read providers
providers.change          .   .   .   x   .   x   .   .   .   enter and change providers
plans.see                 x   x   x   x   x   x   x   .   .   read tariff plans
plans.change              .   .   x   .   .   x   .   .   .   enter and change tariff plans
bands.see                 x   x   x   x   x   x   x   .   .   read bands of time
bands.change              .   .   x   x   .   x   .   .   .   enter and change bands of time
prices.see                x   x   x   x   x   x   x   .   .   read price lists and prices
prices.retail             .   .   x   .   .   x   .   .   .   stage retail price lists
prices.wholesale          .   .   .   x   .   x   .   .   .   stage wholesale price lists
prices.publish            .   .   x   x   .   x   .   .   .   publish and roll back lists of a kind that one may stage
numbers.see               x   x   x   x   x   x   x   .   .   search the operator's numbers
numbers.change            .   .   .   .   .   x   .   .   .   enter numbers into the capacity
numbers.ask               x   x   .   .   .   x   .   .   .   ask that a number be released for sale
numbers.release           x   x   .   .   .   x   .   .   .   answer it as the desk it goes to; nobody answers his own
numbers.sell              x   x   .   .   .   x   .   .   .   create, activate and close subscribers, release numbers
locks.see                 x   x   x   x   x   x   x   .   .   read locks and their history, check a number
locks.ask                 x   x   .   .   .   x   .   .   .   ask a lock's author why, and to lift it
locks.set                 .   .   .   x   x   x   .   .   .   set locks
locks.lift                .   .   .   x   x   x   .   .   .   change and lift the locks that one has set
locks.lift_any            .   .   .   .   .   x   .   .   .   change and lift everyone's locks
tariffs.check             x   x   x   x   x   x   x   .   .   ask whether and at what price a call would be rated
calls.see                 x   x   x   x   x   x   x   .   .   read decisions, CDRs, and why a call did not go through
calls.rerate              .   .   .   .   x   x   .   .   .   prepare a re-rating of past calls, post an approved one
calls.approve             .   .   .   .   .   x   .   .   .   approve and roll back a re-rating that another prepared
parties.see               x   .   .   .   x   x   .   .   .   see callers and called numbers of calls whole
parties.unmask            .   .   .   x   .   .   x   .   .   see them whole for a reason that is kept
rejected.see              x   .   .   .   x   x   x   x   .   read rejected events
rejected.resubmit         .   .   .   .   x   x   .   .   .   submit rejected events again
statistics.see            x   x   x   x   x   x   x   .   .   read traffic and reports
letters.see               x   x   .   .   x   x   x   .   .   read letters that went out
jobs.see                  .   .   .   .   x   x   x   x   .   read what the jobs of the night did
jobs.run                  .   .   .   .   .   x   .   x   .   start the jobs of a night
calendar.see              x   x   x   x   x   x   x   x   .   read the production calendar and the business clock
calendar.load             .   .   .   .   .   x   .   x   .   load the production calendar
clock.set                 .   .   .   .   .   .   .   x   .   set the business clock, where the settings allow it at all
audit.see                 .   .   .   .   .   x   x   x   .   read who changed what
users.see                 .   .   .   .   .   x   x   x   .   read users and API keys
users.manage              .   .   .   .   .   .   .   x   .   enter users, change roles, issue tokens, revoke keys
keys.own                  x   x   x   x   x   x   x   x   x   make and revoke API keys of one's own
system.see                .   .   .   .   .   x   x   x   .   read metrics and the state of the system
"""
"""One line a permission, one column a role, `x` where it is given. In words at the end: what it allows."""


class Permission(NamedTuple):
    """What may be allowed. `text` ends the sentence "the role may …"."""

    name: str
    text: str
    roles: frozenset[Role]


def _read(table: str) -> Mapping[str, Permission]:
    found: dict[str, Permission] = {}
    _, header, *lines = table.splitlines()
    assert header.split() == [role[:3] for role in ROLES], "the table's columns are the roles, in their order"
    for line in lines:
        name, *crosses = line.split(maxsplit=len(ROLES) + 1)
        text = crosses.pop()
        assert re.fullmatch(r"[a-z0-9]+\.[a-z_]+", name) is not None, name
        assert name not in found, name
        assert len(crosses) == len(ROLES), line
        assert set(crosses) <= {"x", "."}, line
        roles = frozenset(role for role, cross in zip(ROLES, crosses, strict=True) if cross == "x")
        assert roles, f"nobody has {name}"
        found[name] = Permission(name, text, roles)
    return MappingProxyType(found)


PERMISSIONS: Mapping[str, Permission] = _read(_TABLE)
"""All permissions by name, in the order of the table."""

ROLE_PERMISSIONS: Mapping[Role, frozenset[str]] = MappingProxyType(
    {role: frozenset(name for name, of in PERMISSIONS.items() if role in of.roles) for role in ROLES}
)


class Asker(NamedTuple):
    """Who asks: a user in a session, or through an API key, or a process of the system itself.

    `actor` is what stands in the audit: the user's name, with the key's prefix where it was a key.
    """

    user: str
    role: Role
    permissions: frozenset[str]
    key_prefix: str | None = None
    session_id: str | None = None

    @property
    def actor(self) -> str:
        """As the audit and a lock's author name them."""
        return self.user

    def may(self, permission: str) -> bool:
        """Whether it is allowed. Raises KeyError for what is not in the table: a mistake in the program."""
        if permission not in PERMISSIONS:
            raise KeyError(f"there is no permission {permission!r}")
        return permission in self.permissions

    def must(self, permission: str) -> None:
        """Raises NotAllowed, which says what is missing and whom to ask."""
        if not self.may(permission):
            raise missing(permission, self)


def asker(
    user: str,
    role: Role,
    *,
    scopes: frozenset[str] | None = None,
    key_prefix: str | None = None,
    session_id: str | None = None,
) -> Asker:
    """Who asks, with what the role allows; of that only `scopes` where a key has some. A scope never adds anything."""
    allowed = ROLE_PERMISSIONS[role]
    return Asker(user, role, allowed if scopes is None else allowed & scopes, key_prefix, session_id)


def missing(permission: str, who: Asker) -> NotAllowed:
    """The refusal of something that the table does not give: what is missing, and whom to ask (§2.2, R2.2-17)."""
    wanted = PERMISSIONS[permission]
    if who.role in wanted.roles:
        return NotAllowed(
            f"this key is not for that: it lacks {permission} ({wanted.text}), which your role has",
            permission=permission,
            ask="whoever made the key",
        )
    return NotAllowed(
        f"the role {who.role} may not {wanted.text} ({permission})", permission=permission, ask="your manager"
    )


# -- what a user may be called and hide behind ------------------------------------------------------------------------

USER_NAME = r"^[a-z][a-z0-9._-]{1,31}(?![\s\S])"
"""Small letters, digits, `.`, `_`, `-`; a name never changes, since the audit and the locks refer to it."""

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 128
"""Hashing takes time by length: a password of a megabyte would be an attack."""


def password_problem(password: str, user: str) -> str | None:
    """What is wrong with a new password; None when nothing is. Length counts, not kinds of signs (NIST 800-63B)."""
    if len(password) < SHORTEST_PASSWORD:
        return f"has {len(password)} characters; take at least {SHORTEST_PASSWORD}: a few words do"
    if len(password) > LONGEST_PASSWORD:
        return f"has {len(password)} characters; take at most {LONGEST_PASSWORD}"
    if user.lower() in password.lower():
        return "holds the user's name; take another one"
    if len(set(password)) < 5:
        return "is made of fewer than five different characters; take another one"
    return None


# -- slowing down who guesses -----------------------------------------------------------------------------------------

FREE_FAILURES = 5
"""So many wrong passwords in a row cost nothing: people mistype."""

LONGEST_WAIT_SECONDS = 300
"""A guesser gets 12 tries an hour then; the user whose name is guessed at waits no longer than this either."""

FORGET_FAILURES_SECONDS = 24 * 3600
"""After so long without a failure the count begins anew."""


def wait_seconds(failures: int) -> int:
    """How long nobody may try again after so many failures in a row: 1, 2, 4, … seconds from the sixth on."""
    if failures <= FREE_FAILURES:
        return 0
    return int(min(LONGEST_WAIT_SECONDS, 2 ** min(failures - FREE_FAILURES - 1, 30)))


# -- numbers of those who talked --------------------------------------------------------------------------------------

_SHOWN_START, _SHOWN_END = 4, 2


def masked_number(digits: str) -> str:
    """`7999•••••12`: the first four digits, which tell the direction, and the last two. A short one shows less."""
    if len(digits) <= _SHOWN_START + _SHOWN_END:
        return "•" * len(digits)
    hidden = len(digits) - _SHOWN_START - _SHOWN_END
    return digits[:_SHOWN_START] + "•" * hidden + digits[-_SHOWN_END:]

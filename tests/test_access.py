"""Who may do what: the table of roles and permissions as the guide wants it, and the rules around passwords."""

import pytest

from backoffice.access import (
    FREE_FAILURES,
    LONGEST_PASSWORD,
    LONGEST_WAIT_SECONDS,
    PERMISSIONS,
    ROLE_PERMISSIONS,
    ROLES,
    SHORTEST_PASSWORD,
    asker,
    masked_number,
    password_problem,
    wait_seconds,
)
from backoffice.refusals import NotAllowed


def may(role: str, permission: str) -> bool:
    return permission in ROLE_PERMISSIONS[role]  # type: ignore[index]


def test_every_permission_says_what_it_allows() -> None:
    assert len(PERMISSIONS) > 40
    assert all(permission.text and not permission.text.endswith(".") for permission in PERMISSIONS.values())


def test_support_reads_the_locks_and_asks_about_them_but_never_lifts_one() -> None:
    assert may("support", "locks.see")
    assert may("support", "locks.ask")
    assert not any(may("support", permission) for permission in ("locks.set", "locks.lift", "locks.lift_any"))


def test_only_a_manager_lifts_the_locks_of_others() -> None:
    assert PERMISSIONS["locks.lift_any"].roles == {"manager"}


def test_retail_prices_are_marketings_and_wholesale_prices_b2bs() -> None:
    assert PERMISSIONS["prices.retail"].roles == {"marketing", "manager"}
    assert PERMISSIONS["prices.wholesale"].roles == {"b2b", "manager"}


def test_a_payment_is_entered_by_billing_alone_and_a_top_up_is_something_else() -> None:
    assert PERMISSIONS["money.pay"].roles == {"billing"}
    assert PERMISSIONS["money.top_up"].roles == {"billing", "manager"}


def test_an_administrator_touches_neither_money_nor_locks_nor_prices_nor_calls() -> None:
    areas = {permission.partition(".")[0] for permission in ROLE_PERMISSIONS["administrator"]}

    assert areas.isdisjoint({"money", "locks", "prices", "calls", "parties", "accounts", "clients", "numbers"})


def test_an_auditor_changes_nothing() -> None:
    ends = {permission.partition(".")[2] for permission in ROLE_PERMISSIONS["auditor"]}

    assert ends <= {"see", "check", "unmask", "own"}


def test_a_switch_knows_its_providers_and_sees_nobody() -> None:
    """It asks about calls through Kafka, whose rights are its own."""
    assert ROLE_PERMISSIONS["switch"] == {"providers.see", "keys.own"}


def test_whoever_sees_calls_without_seeing_numbers_sees_them_masked() -> None:
    masked = [role for role in ROLES if may(role, "calls.see") and not may(role, "parties.see")]

    assert masked == ["sales", "marketing", "b2b", "auditor"]


def test_a_role_is_allowed_what_its_line_says_and_refused_with_what_is_missing() -> None:
    who = asker("ivanov", "support")

    who.must("locks.see")
    with pytest.raises(NotAllowed) as refused:
        who.must("locks.lift_any")

    assert refused.value.permission == "locks.lift_any"
    assert refused.value.ask == "your manager"


def test_a_keys_scope_never_adds_to_the_role() -> None:
    who = asker("ivanov", "support", scopes=frozenset({"locks.see", "money.pay"}))

    assert who.permissions == {"locks.see"}


def test_what_a_key_lacks_and_the_role_has_is_told_apart() -> None:
    who = asker("ivanov", "support", scopes=frozenset({"locks.see"}), key_prefix="abcdefgh")

    with pytest.raises(NotAllowed) as refused:
        who.must("clients.see")

    assert "this key" in refused.value.text
    assert refused.value.ask == "whoever made the key"


def test_a_permission_that_is_not_in_the_table_is_a_mistake_of_the_program() -> None:
    with pytest.raises(KeyError, match=r"locks\.eat"):
        asker("ivanov", "manager").may("locks.eat")


@pytest.mark.parametrize(
    ("digits", "shown"),
    [
        ("79991234512", "7999•••••12"),
        ("381114112060", "3811••••••60"),
        ("7999123", "7999•23"),
        ("799912", "••••••"),
        ("112", "•••"),
        ("", ""),
    ],
)
def test_a_masked_number_shows_where_it_is_and_not_whose(digits: str, shown: str) -> None:
    assert masked_number(digits) == shown


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("short", "at least"),
        ("x" * SHORTEST_PASSWORD, "fewer than five"),
        ("the-IVANOV-family", "user's name"),
        ("a1b2c3d4" * (LONGEST_PASSWORD // 8 + 1), "at most"),
    ],
)
def test_a_password_that_is_easy_to_guess_or_too_long_is_refused(password: str, fault: str) -> None:
    assert fault in (password_problem(password, "ivanov") or "")


def test_a_few_words_are_a_password() -> None:
    assert password_problem("верная лошадь батарея", "ivanov") is None


def test_guessing_gets_slower_but_never_shuts_a_user_out_for_long() -> None:
    waits = [wait_seconds(failures) for failures in range(1, 40)]

    assert waits[:FREE_FAILURES] == [0] * FREE_FAILURES
    assert waits[FREE_FAILURES : FREE_FAILURES + 4] == [1, 2, 4, 8]
    assert waits == sorted(waits)
    assert max(waits) == LONGEST_WAIT_SECONDS

"""Moments, money and keys as text and as integers: both ways give the same, and nothing else gets in."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import money, times
from schemas.partitions import murmur2, partition_of
from schemas.times import EARLIEST_US, LATEST_US, from_datetime, to_datetime, to_text, to_us

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

moments = st.integers(EARLIEST_US, LATEST_US - 1)
milliseconds = moments.map(lambda us: us - us % 1000)


# -- moments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T18:30:00.000Z", "2026-11-24T18:30:00.000Z"),
        ("2026-11-24T18:30:00Z", "2026-11-24T18:30:00.000Z"),
        ("2026-11-24 18:30:00Z", "2026-11-24T18:30:00.000Z"),
        ("2026-11-24T18:30:00.5Z", "2026-11-24T18:30:00.500Z"),
        ("2026-11-24T18:30:00.123456Z", "2026-11-24T18:30:00.123Z"),
        ("2026-11-24T21:30:00+03:00", "2026-11-24T18:30:00.000Z"),
        ("2026-11-24T21:30:00.250+03:00", "2026-11-24T18:30:00.250Z"),
        ("2026-11-25T00:15:00+05:45", "2026-11-24T18:30:00.000Z"),
        ("2026-11-24T13:30:00-05:00", "2026-11-24T18:30:00.000Z"),
        ("2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59.999Z"),
        ("2000-01-01T00:00:00.000Z", "2000-01-01T00:00:00.000Z"),
        ("2000-01-01T02:59:59.999+03:00", None),
        ("2099-12-31T23:59:59.999Z", "2099-12-31T23:59:59.999Z"),
        ("2100-01-01T00:00:00.000Z", None),
        ("2100-01-01T02:59:59.999+03:00", "2099-12-31T23:59:59.999Z"),
    ],
)
def test_a_moment_is_the_same_in_whatever_zone_it_is_written(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="broken clock"):
            to_us(text)
    else:
        assert to_text(to_us(text)) == expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("2026-11-24T18:30:00.000", "names no time zone"),
        ("2026-11-24T18:30:00", "names no time zone"),
        ("2026-11-24", "names no time zone"),
        ("", "is not a moment"),
        ("now", "is not a moment"),
        ("1764009000", "is not a moment"),
        ("2026-02-30T00:00:00.000Z", "is not a moment"),
        ("2025-02-29T00:00:00.000Z", "is not a moment"),
        ("2026-13-01T00:00:00.000Z", "is not a moment"),
        ("2026-11-24T25:00:00.000Z", "is not a moment"),
        ("2026-11-24T18:60:00.000Z", "is not a moment"),
        ("2026-11-24T18:30:60.000Z", "is not a moment"),
        ("2026-11-24T18:30:99.000Z", "is not a moment"),
        ("24.11.2026 18:30:00", "is not a moment"),
        (" 2026-11-24T18:30:00.000Z", "is not a moment"),
        ("2026-11-24T18:30:00.000Z ", "is not a moment"),
        ("2026-11-24T18:30:00.000Z\n", "is not a moment"),
        ("2026-11-24T18:30:00.000ZZ", "is not a moment"),
        ("2026-11-24T18:30:00.000+25:00", "is not a moment"),
        ("٢٠٢٦-11-24T18:30:00.000Z", "is not a moment"),
        ("2026-11-24T18:30:0٠.000Z", "is not a moment"),
        ("2026-11-24T18:30:00.00٠Z", "is not a moment"),
        ("2026-11-24T18:30:00.-01Z", "is not a moment"),
        ("2026-11-24T18:30:00. 12Z", "is not a moment"),
        ("2026-11-24T18:30:00.1_2Z", "is not a moment"),
        ("2026-11-24T18:30:00.\x0012Z", "is not a moment"),
        ("\ud800" * 24, "is not a moment"),
        ("9" * 40, "is not a moment"),
        ("1970-01-01T00:00:07.000Z", "broken clock"),
        ("1999-12-31T23:59:59.999Z", "broken clock"),
        ("0001-01-01T00:00:00.000Z", "broken clock"),
        ("0001-01-01T00:00:00+23:59", "broken clock"),
        ("9999-12-31T23:59:59.999Z", "broken clock"),
        ("9999-12-31T23:59:59-23:59", "broken clock"),
    ],
)
def test_what_is_no_moment_is_refused_with_the_remedy(text: str, remedy: str) -> None:
    # The good moment of the same second must not lend its memory to a bad text.
    to_us("2026-11-24T18:30:00.000Z")

    for _ in range(2):
        with pytest.raises(ValueError, match=remedy):
            to_us(text)


@given(milliseconds)
def test_a_moment_survives_being_written_and_read(us: int) -> None:
    text = to_text(us)

    assert to_us(text) == us
    assert text == (EPOCH + timedelta(microseconds=us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@given(moments)
def test_parts_of_a_millisecond_are_dropped_in_writing_never_rounded_up(us: int) -> None:
    assert to_us(to_text(us)) == us - us % 1000


@given(moments, st.integers(-1439, 1439))
def test_microseconds_of_any_zone_are_read_exactly(us: int, offset_minutes: int) -> None:
    zone = timezone(timedelta(minutes=offset_minutes))

    assert to_us((EPOCH + timedelta(microseconds=us)).astimezone(zone).isoformat()) == us


@given(milliseconds, milliseconds)
def test_written_moments_sort_like_moments(one: int, other: int) -> None:
    assert (to_text(one) < to_text(other)) == (one < other)


@given(milliseconds)
def test_a_remembered_second_reads_like_an_unknown_one(us: int) -> None:
    text = to_text(us)
    to_us(text[:20] + "000Z")

    assert to_us(text) == times._parse(text) == us


@given(milliseconds, st.integers(0, 23), st.characters())
def test_a_character_that_is_changed_means_the_same_for_both_ways_of_reading(us: int, place: int, other: str) -> None:
    text = to_text(us)
    to_us(text)
    changed = text[:place] + other + text[place + 1 :]

    assert outcome(to_us, changed) == outcome(times._parse, changed)


@given(st.text(max_size=40))
def test_any_other_text_is_refused_not_misread(text: str) -> None:
    assert isinstance(outcome(to_us, text), int | str)


@given(moments)
def test_moments_and_datetimes_are_the_same(us: int) -> None:
    moment = to_datetime(us)

    assert moment.utcoffset() == timedelta(0)
    assert from_datetime(moment) == us
    assert from_datetime(moment.astimezone(timezone(timedelta(hours=3)))) == us


def test_more_seconds_than_are_remembered_are_read_and_written_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "_MEMORY", 3)

    for second in range(10):
        text = f"2031-05-09T00:00:{second:02d}.{second:03d}Z"
        assert to_text(to_us(text)) == text


def outcome(read: "object", text: str) -> int | str:
    """What reading gives, or why it is refused."""
    assert callable(read)
    try:
        found = read(text)
    except ValueError as error:
        return str(error)
    assert isinstance(found, int)
    return found


# -- money ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "micros", "written"),
    [
        ("12.50", 12_500_000, "12.50"),
        ("0", 0, "0.00"),
        ("-0.00", 0, "0.00"),
        ("7", 7_000_000, "7.00"),
        ("+7", 7_000_000, "7.00"),
        ("-12.5", -12_500_000, "-12.50"),
        ("0.716667", 716_667, "0.716667"),
        ("0.7160", 716_000, "0.716"),
        ("-0.000001", -1, "-0.000001"),
        ("1.000000", 1_000_000, "1.00"),
        ("1.0000000000", 1_000_000, "1.00"),
        ("0000012.5", 12_500_000, "12.50"),
        ("9223372036854.775807", 2**63 - 1, "9223372036854.775807"),
        ("-9223372036854.775807", -(2**63) + 1, "-9223372036854.775807"),
    ],
)
def test_money_is_read_and_written_exactly(text: str, micros: int, written: str) -> None:
    assert money.to_micros(text) == micros
    assert money.to_text(micros) == written


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "-", "12,50", "12.50 RUB", "1 000", "0x10", "1..2", "--1", "1/2"),
        *("nan", "NaN", "sNaN", "inf", "-Infinity", "1e1000000000", "1e-1000000000"),
        *("0.0000001", "1.2345678", "-0.0000009", "9223372036854.775808", "-9223372036854.775808", "9" * 40),
    ],
)
def test_what_is_no_money_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"money|number|decimals"):
        money.to_micros(text)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_money_survives_being_written_and_read(micros: int) -> None:
    text = money.to_text(micros)

    assert money.to_micros(text) == micros
    assert Decimal(text) * 1_000_000 == micros
    assert len(text.partition(".")[2]) >= 2


@given(st.text(alphabet="0123456789.,-+eE_ naif", max_size=28))
def test_a_text_is_exactly_its_money_or_refused(text: str) -> None:
    try:
        micros = money.to_micros(text)
    except ValueError:
        return
    # Through digits, not through Decimal's context, which has an end.
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    unscaled = int("".join(map(str, digits))) * (-1 if sign else 1)
    assert unscaled * 10 ** max(exponent + 6, 0) == micros * 10 ** max(-exponent - 6, 0)


# -- keys -------------------------------------------------------------------------------------------------------------

# The vectors of Apache Kafka's own test, UtilsTest.testMurmur2.
KAFKA_HASHES = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), KAFKA_HASHES.items())
def test_keys_are_hashed_as_kafkas_producers_do(key: str, signed: int) -> None:
    assert murmur2(key.encode()) == signed % 2**32
    # Java drops the sign bit, so that a negative hash gives a partition too.
    assert partition_of(key.encode(), 16) == (signed & 0x7FFFFFFF) % 16


@given(st.binary(max_size=80), st.integers(1, 500))
def test_every_key_has_one_partition(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


def test_accounts_spread_evenly() -> None:
    counts = [0] * 16
    for account in range(16_000):
        counts[partition_of(str(100_000 + account).encode(), 16)] += 1

    assert min(counts) > 850
    assert max(counts) < 1150

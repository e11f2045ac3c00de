from datetime import date, datetime, time

import pytest

from kisbt.clock import KST as CLOCK_KST
from kisbt.kis.wire.texts import (
    COUNT,
    DAY,
    FLAG,
    KST,
    LOOSE_FLAG,
    NEEDED_DAY,
    NEEDED_TEXT,
    NEEDED_WHOLE,
    PLAIN,
    ROUNDED,
    TEXT,
    TIME,
    WHOLE,
    choices,
    decimals,
    format_moment,
    format_plain,
    lenient_choices,
    parse_moment,
    sign_code,
)
from kisbt.model.instrument import Market
from kisbt.model.order import Side


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("0000000010", 10),
        ("-107", -107),
        ("+5", 5),
        ("71500.0000", 71_500),
        ("882716000000", 882_716_000_000),
    ],
)
def test_whole_number_reads_padded_and_blank(text: str, value: int) -> None:
    assert WHOLE.parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "1.5",
        "1,000",
        "1_000",
        "\uff11\uff12",
        "nan",
        "inf",
        "1e3",
        "9" * 19,
        "-",
    ],
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        WHOLE.parse(text)


@pytest.mark.parametrize(
    ("text", "value"), [("", 0.0), ("-0.70", -0.7), (".5", 0.5), ("3.", 3.0)]
)
def test_decimal_reads(text: str, value: float) -> None:
    assert PLAIN.parse(text) == value


@pytest.mark.parametrize("text", ["nan", "1e9", "inf", "0x1", "1.2.3", "٣"])
def test_what_is_no_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        PLAIN.parse(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(71_500.0, "71500"), (0.5, "0.5"), (-1234.5678, "-1234.5678"), (0.0, "0")],
)
def test_plain_number_is_written_without_exponent(value: float, text: str) -> None:
    assert format_plain(value) == text


def test_fixed_decimals_never_write_a_negative_zero() -> None:
    assert decimals(2).format(-0.001) == "0.00"
    assert decimals(4).format(-71_500.0) == "-71500.0000"


@pytest.mark.parametrize("text", ["", "0", "00000000", "00000101"])
def test_blank_dates_are_none(text: str) -> None:
    assert DAY.parse(text) is None
    with pytest.raises(ValueError, match="blank"):
        NEEDED_DAY.parse(text)


def test_date_and_time_read_and_write() -> None:
    assert DAY.parse("20260706") == date(2026, 7, 6)
    assert DAY.format(date(2026, 7, 6)) == "20260706"
    assert TIME.parse("100512") == TIME.parse("100512123") == time(10, 5, 12)
    assert TIME.parse("") is None
    assert (DAY.format(None), TIME.format(None)) == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "20261301",
        "2026-07-06",
        "2026070",
        "\uff12\uff10\uff12\uff16\uff10\uff17\uff10\uff16",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are Python's for some
        DAY.parse(text)


@pytest.mark.parametrize("text", ["250000", "10051", "abcdef", "10:05"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are Python's for some
        TIME.parse(text)


def test_moments_are_korean_and_may_make_no_sense() -> None:
    moment = parse_moment("2026-07-07 08:59:59")

    assert moment == datetime(2026, 7, 7, 8, 59, 59, tzinfo=CLOCK_KST)
    assert moment is not None
    assert format_moment(moment) == "2026-07-07 08:59:59"
    assert parse_moment("soon") is None
    assert KST.utcoffset(None) == CLOCK_KST.utcoffset(None)


def test_blank_flag_is_no_and_a_strange_one_is_refused() -> None:
    assert FLAG.parse("") is False
    assert FLAG.parse("Y") is True
    assert LOOSE_FLAG.parse("?") is False
    assert (FLAG.format(True), FLAG.format(False)) == ("Y", "N")
    with pytest.raises(ValueError, match="Y or N"):
        FLAG.parse("1")


def test_blank_is_refused_where_nothing_may_be_guessed() -> None:
    for codec in (NEEDED_TEXT, NEEDED_WHOLE, COUNT):
        with pytest.raises(ValueError, match=r"blank|digits"):
            codec.parse("")


def test_request_numbers_are_digits_only() -> None:
    assert COUNT.parse("10") == 10
    with pytest.raises(ValueError, match="digits"):
        COUNT.parse("70000.0")


def test_costs_are_rounded_to_whole_won() -> None:
    assert ROUNDED.parse("12.6") == 13


def test_codes_of_orders_are_never_guessed() -> None:
    codec = choices(Side, {"sell": "01", "buy": "02"})

    assert codec.parse("02") is Side.BUY
    assert codec.format(Side.SELL) == "01"
    for text in ("", "03", "2"):
        with pytest.raises(ValueError, match="01, 02"):
            codec.parse(text)


def test_codes_of_descriptions_may_be_unknown() -> None:
    codec = lenient_choices(Market, {"KOSPI": "STK"})

    assert codec.parse("STK") is Market.KOSPI
    assert codec.parse("XXX") is None
    assert (codec.format(None), codec.format(Market.KOSPI)) == ("", "STK")


@pytest.mark.parametrize(("change", "code"), [(-0.5, "5"), (0, "3"), (500, "2")])
def test_sign_of_a_change_has_a_code(change: float, code: str) -> None:
    assert sign_code(change) == code


def test_a_text_that_comes_again_is_one_object_but_not_for_ever() -> None:
    def read() -> object:
        return TEXT.parse("".join(["005", "930"]))  # another object each time

    first = read()
    assert read() is first
    for number in range(5_000):
        TEXT.parse(f"order {number}")
    assert read() == first
    assert read() is not first

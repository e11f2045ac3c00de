"""The text of one value: numbers padded or blank, dates, times, codes.

Every value on the wire is text. A `TextCodec` reads one kind of it and writes it
again. Readers raise ValueError; the caller says which field of which call it was.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from enum import StrEnum
from typing import Any, Final

from kisbt.kis.wire import fields as f

KST: Final = timezone(timedelta(hours=9), "KST")
"""Korean time; equal to `kisbt.clock.KST`, which codecs may not import."""

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.0*)?")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})")
_DATE: Final = re.compile(r"[0-9]{8}")
_TIME: Final = re.compile(r"[0-9]{6}(?:[0-9]{3})?")

_MOMENT: Final = "%Y-%m-%d %H:%M:%S"

# Dates that stand for none: answers use zeros, one client asks with the second.
_NO_DATES: Final = frozenset({"", "0", "00000000", "00000101"})

_TEXTS_KEPT: Final = 1_000
_texts: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class TextCodec:
    """How one value reads and writes.

    Attributes:
        parse: text, blanks around it removed, to value; ValueError if it is none.
        format: value to text.
    """

    parse: Callable[[str], Any]
    format: Callable[[Any], str]


def parse_whole(text: str) -> int:
    """Return a whole number; blank is 0, ``71500.0000`` is 71500."""
    if not text:
        return 0
    if not _WHOLE.fullmatch(text):
        raise ValueError("expected a whole number")
    return int(text.partition(".")[0])


def parse_count(text: str) -> int:
    """Return a whole number of a request: digits only, as KIS demands."""
    if not _DIGITS.fullmatch(text):
        raise ValueError("expected digits")
    return int(text)


def parse_decimal(text: str) -> float:
    """Return a number; blank is 0. Words such as ``nan`` are refused."""
    if not text:
        return 0.0
    if not _DECIMAL.fullmatch(text):
        raise ValueError("expected a number")
    return float(text)


def parse_date(text: str) -> date | None:
    """Return the date written YYYYMMDD; None where it stands for no date."""
    if text in _NO_DATES:
        return None
    if not _DATE.fullmatch(text):
        raise ValueError("expected a date YYYYMMDD")
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def parse_time(text: str) -> time | None:
    """Return the time written HHMMSS, milliseconds dropped; None if blank."""
    if not text:
        return None
    if not _TIME.fullmatch(text):
        raise ValueError("expected a time HHMMSS")
    return time(int(text[:2]), int(text[2:4]), int(text[4:6]))


def parse_moment(text: str) -> datetime | None:
    """Return the Korean time written ``YYYY-MM-DD HH:MM:SS``; None if it is none."""
    try:
        return datetime.strptime(text.strip(), _MOMENT).replace(tzinfo=KST)
    except ValueError:
        return None


def format_moment(value: datetime) -> str:
    """Return ``YYYY-MM-DD HH:MM:SS`` in Korean time."""
    return value.astimezone(KST).strftime(_MOMENT)


def format_date(value: date | None) -> str:
    """Return YYYYMMDD; "" for None."""
    # strftime pads years before 1000 differently on each system.
    return f"{value.year:04}{value.month:02}{value.day:02}" if value else ""


def format_time(value: time | None) -> str:
    """Return HHMMSS; "" for None."""
    return "" if value is None else value.strftime("%H%M%S")


def format_decimal(value: float, decimals: int) -> str:
    """Return a number with a fixed count of decimals; never ``-0``."""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if not text.strip("-0.") else text


def format_plain(value: float) -> str:
    """Return the shortest text that reads back as `value`, without exponent."""
    if value == int(value):
        return str(int(value))
    return f"{value:.10f}".rstrip("0")


def _need(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def parse_needed(text: str) -> Any:
        value = parse(text)
        if value is None:
            raise ValueError("is blank")
        return value

    return parse_needed


def _one_of_each(text: str) -> str:
    """Return the text, for names and codes that come again in each row."""
    if len(_texts) >= _TEXTS_KEPT:
        _texts.clear()
    return _texts.setdefault(text, text)


def _need_text(text: str) -> str:
    if not text:
        raise ValueError("is blank")
    return text


def _need_whole(text: str) -> int:
    return parse_whole(_need_text(text))


def _flag(text: str) -> bool:
    if text not in {"", "N", "Y"}:
        raise ValueError("expected Y or N")
    return text == "Y"


def _format_flag(value: bool) -> str:
    return "Y" if value else "N"


def sign_code(change: float) -> str:
    """Return the code that says whether a price rose, fell or stayed."""
    if change == 0:
        return f.SIGN_FLAT
    return f.SIGN_UP if change > 0 else f.SIGN_DOWN


TEXT: Final = TextCodec(_one_of_each, str)
NEEDED_TEXT: Final = TextCodec(_need_text, str)
WHOLE: Final = TextCodec(parse_whole, str)
NEEDED_WHOLE: Final = TextCodec(_need_whole, str)
"""A number nothing may be guessed for, such as the shares of a fill."""
COUNT: Final = TextCodec(parse_count, str)
PLAIN: Final = TextCodec(parse_decimal, format_plain)
ROUNDED: Final = TextCodec(lambda text: round(parse_decimal(text)), str)
DAY: Final = TextCodec(parse_date, format_date)
NEEDED_DAY: Final = TextCodec(_need(parse_date), format_date)
TIME: Final = TextCodec(parse_time, format_time)
NEEDED_TIME: Final = TextCodec(_need(parse_time), format_time)
FLAG: Final = TextCodec(_flag, _format_flag)
LOOSE_FLAG: Final = TextCodec(lambda text: text.upper() == "Y", _format_flag)
"""A flag of a description: anything but Y is no."""


def decimals(count: int) -> TextCodec:
    """Return the codec of numbers written with `count` decimals."""
    return TextCodec(parse_decimal, lambda value: format_decimal(value, count))


def choices(
    kind: type[StrEnum], codes: Mapping[str, str], *, default: StrEnum | None = None
) -> TextCodec:
    """Return the codec of a code that stands for a member of `kind`.

    Args:
        codes: value of the member to code.
        default: member meant by a blank; without it a blank is refused. An unknown
            code is always refused.
    """
    members = {code: kind(value) for value, code in codes.items()}

    def parse(text: str) -> StrEnum:
        if not text and default is not None:
            return default
        found = members.get(text)
        if found is None:
            raise ValueError(f"expected one of {', '.join(sorted(members))}")
        return found

    return TextCodec(parse, lambda value: codes[str(value)])


def lenient_choices(kind: type[StrEnum], codes: Mapping[str, str]) -> TextCodec:
    """Return the codec of a code in a description: an unknown one reads as None."""
    members = {code: kind(value) for value, code in codes.items()}
    return TextCodec(
        members.get, lambda value: "" if value is None else codes[str(value)]
    )

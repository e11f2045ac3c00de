"""Text cells → times and numbers, column-wise; a bad cell names its line."""

import re

import numpy as np
import numpy.typing as npt
import pandas as pd

from kisbt.candles.columns import Floats, Times
from kisbt.candles.source import SourceRows
from kisbt.text import _

_DATE_FORMATS = (
    (re.compile(r"\d{14}"), "%Y%m%d%H%M%S"),
    (re.compile(r"\d{12}"), "%Y%m%d%H%M"),
    (re.compile(r"\d{8}"), "%Y%m%d"),
)
_DATE = re.compile(
    r"(\d{4})([-/.])\d{1,2}\2\d{1,2}(?:([ T])\d{1,2}:\d{2}(:\d{2})?(\.0+)?)?"
)
_COMPACT = re.compile(r"\d{8}([ T])\d{1,2}:\d{2}(:\d{2})?")
_ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")

_DATES_READ = "YYYY-MM-DD, YYYYMMDD, YYYY/MM/DD, YYYY.MM.DD"
_TIMES_READ = "HH:MM, HH:MM:SS, HHMM, HHMMSS"


def parse_times(rows: SourceRows) -> tuple[Times, bool]:
    """Return the label of each row and whether the file gives times of day.

    Returns:
        datetime64[s], naive KST, shape (n,).

    Raises:
        BadCandle: a cell is no date or time, or written otherwise than the first.
    """
    field = "datetime" if "datetime" in rows.frame else "date"
    labels, timed = _parse_dates(rows, field)
    if "time" not in rows.frame:
        return labels, timed
    if timed:
        # The time column says it again, or the date column is only stamped 00:00.
        labels = labels.astype("datetime64[D]").astype("datetime64[s]")
    return labels + _parse_clock(rows), True


def _parse_dates(rows: SourceRows, field: str) -> tuple[Times, bool]:
    column = rows.frame[field]
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("Asia/Seoul").dt.tz_localize(None)
    if column.dtype.kind == "M":
        typed = column.to_numpy().astype("datetime64[s]")
        if np.isnat(typed).any():
            raise rows.bad(int(np.argmax(np.isnat(typed))), _("the date is empty"))
        return typed, bool((typed != typed.astype("datetime64[D]")).any())
    codes, distinct = pd.factorize(column.astype(str))
    texts = [_plain_date(text) for text in distinct.tolist()]
    layout, timed = _date_format(texts[0])
    if not layout:
        raise rows.bad(0, _no_date(distinct[0]))
    found = pd.to_datetime(
        pd.Series(texts, dtype=object), format=layout, errors="coerce"
    ).to_numpy()
    if np.isnat(found).any():
        position = int(np.argmax(np.isnat(found)[codes]))
        raise rows.bad(position, _no_date(distinct[codes[position]], first=distinct[0]))
    return found.astype("datetime64[s]")[codes], timed


def _plain_date(text: str) -> str:
    """Return `text` with Korean date words, blanks and Korea's own zone removed."""
    plain = re.sub(r"\s*[년월]\s*", "-", text.strip()).replace("일", "")
    plain = re.sub(r"(?<=[.\-/])\s+", "", plain)  # 2024. 1. 2.
    plain = re.sub(r"\.(?=$|\s+\d{1,2}:)", "", plain)
    return re.sub(r"\+09:?00$", "", plain).strip()


def _date_format(text: str) -> tuple[str, bool]:
    for pattern, layout in _DATE_FORMATS:
        if pattern.fullmatch(text):
            return layout, "%H" in layout
    found = _DATE.fullmatch(text)
    if found:
        mark, gap, seconds, fraction = found.groups()[1:]
        layout = f"%Y{mark}%m{mark}%d"
        if gap:
            layout += f"{gap}%H:%M" + (":%S" if seconds else "")
            layout += ".%f" if fraction else ""
        return layout, bool(gap)
    found = _COMPACT.fullmatch(text)
    if found:
        return f"%Y%m%d{found.group(1)}%H:%M" + (":%S" if found.group(2) else ""), True
    return "", False


def _no_date(text: str, *, first: str = "") -> str:
    if not text.strip():
        return _("the date is empty")
    if _ZONE.search(text) and ":" in text:
        return _("{found!r} is in another time zone; expected Korean time").format(
            found=text
        )
    if first and _date_format(_plain_date(text))[0]:
        return _(
            "{found!r} is no date written as the first one, {first!r}; expected one "
            "way of writing throughout"
        ).format(found=text, first=first)
    return _("{found!r} is no date; expected {known}").format(
        found=text, known=_DATES_READ
    )


def _parse_clock(rows: SourceRows) -> npt.NDArray[np.timedelta64]:
    """Return the time of day of each row."""
    codes, distinct = pd.factorize(rows.frame["time"].astype(str))
    seconds = np.array([_seconds(text) for text in distinct.tolist()], np.int64)
    if (seconds < 0).any():
        position = int(np.argmax((seconds < 0)[codes]))
        raise rows.bad(
            position,
            _("{found!r} is no time; expected {known}").format(
                found=distinct[codes[position]], known=_TIMES_READ
            ),
        )
    return seconds.astype("timedelta64[s]")[codes]


def _seconds(text: str) -> int:
    """Return seconds since midnight, -1 if `text` is no time of day."""
    plain = text.strip()
    if plain.isdecimal() and 3 <= len(plain) <= 6:
        # Excel drops the leading zero: 90100 is 09:01:00, 901 is 09:01.
        plain = plain.zfill(4) if len(plain) <= 4 else plain.zfill(6)
        plain = ":".join(re.findall("..", plain))
    found = re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.0+)?)?", plain)
    if not found:
        return -1
    hour, minute, second = (int(part or 0) for part in found.groups())
    if hour > 23 or minute > 59 or second > 59:
        return -1
    return hour * 3600 + minute * 60 + second


def parse_numbers(rows: SourceRows, field: str) -> Floats:
    """Return a column as float64; thousands separators are understood.

    Raises:
        BadCandle: a cell is empty or no number.
    """
    column = rows.frame[field]
    numbers = (
        column.to_numpy(np.float64)
        if column.dtype.kind in "iuf"
        else _from_texts(column.astype(str).tolist())
    )
    finite = np.isfinite(numbers)
    if not finite.all():
        position = int(np.argmin(finite))
        text = str(column.iloc[position])
        header = rows.used[field]
        raise rows.bad(
            position,
            _("{column} is empty; expected a number").format(column=header)
            if not text.strip()
            else _("{column} is {found!r}; expected a number").format(
                column=header, found=text
            ),
        )
    return numbers


def _from_texts(texts: list[str]) -> Floats:
    # float() takes 1_000 for a number; a file that has it is not ours.
    if not any("_" in text for text in texts):
        try:
            return np.array(texts, dtype=object).astype(np.float64)
        except ValueError:
            pass  # thousands separators, or a cell that is no number
    return np.array([_number(text) for text in texts], np.float64)


def _number(text: str) -> float:
    plain = text.strip()
    if _GROUPED.fullmatch(plain):
        return float(plain.replace(",", ""))
    return float(plain) if _NUMBER.fullmatch(plain) else float("nan")

"""Facts the user adds to ours: holidays, hours and tax rates of coming years.

The content of `krx_overrides.yaml`:

    holidays:
      add: [2027-06-14]
      remove: [2027-05-03]
    hours:
      2027-11-18: {open: "10:00", close: "16:30"}
    transaction_tax:
      - {trade_from: 2026-12-29, kospi: 0.0015, kosdaq: 0.0015, konex: 0.001}
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, TypeVar

from kisbt.errors import ConfigError, InputError
from kisbt.krx.calendar import KrxCalendar, SessionHours, default_calendar
from kisbt.krx.fees import TaxRow, TaxTable, merge_tax_rows, parse_rate
from kisbt.text import _

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class KrxOverrides:
    """The user's own rows.

    Attributes:
        closed: days without a session, besides the known ones.
        opened: weekdays with a session although they are known as closed.
        hours: sessions whose hours differ from the known ones.
        tax_rows: added to the known ones; the same date replaces a row.
    """

    closed: frozenset[date] = frozenset()
    opened: frozenset[date] = frozenset()
    hours: Mapping[date, SessionHours] = field(default_factory=dict)
    tax_rows: tuple[TaxRow, ...] = ()

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "KrxOverrides":
        """Read the content of `krx_overrides.yaml`.

        Raises:
            ConfigError: an unknown key, or a value that is none; ``path`` is its key.
        """
        top = _block(values, "", ("holidays", "hours", "transaction_tax"))
        days = _block(top.get("holidays"), "holidays", ("add", "remove"))
        return cls(
            closed=frozenset(_days(days, "add")),
            opened=frozenset(_days(days, "remove")),
            hours=_hours(top.get("hours")),
            tax_rows=tuple(
                _tax_row(row, f"transaction_tax.{number}")
                for number, row in enumerate(
                    _list(top.get("transaction_tax"), "transaction_tax")
                )
            ),
        )

    def calendar(self) -> KrxCalendar:
        """Return the calendar with these days and hours.

        Raises:
            ConfigError: a day is outside the calendar, opened and closed at once, or
                has hours without being a session.
        """
        if not (self.closed or self.opened or self.hours):
            return default_calendar()
        try:
            return KrxCalendar(closed=self.closed, opened=self.opened, hours=self.hours)
        except InputError as error:
            raise ConfigError(
                _("krx_overrides: {problem}").format(problem=error)
            ) from error

    def tax_table(self) -> TaxTable:
        """Return the known tax rows with these added."""
        return merge_tax_rows(*self.tax_rows)


def _wrong(path: str, found: object, expected: str) -> ConfigError:
    return ConfigError(
        _("krx_overrides: {path}: {found!r}: expected {expected}").format(
            path=path, found=found, expected=expected
        ),
        path=path,
    )


def _block(found: object, path: str, known: Iterable[str]) -> Mapping[str, Any]:
    keys = tuple(known)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise _wrong(path, found, _("a block with {keys}").format(keys=", ".join(keys)))
    for key in found:
        if key not in keys:
            near = get_close_matches(str(key), keys, n=1) or keys
            raise _wrong(
                f"{path}.{key}" if path else str(key), key, _(" or ").join(near)
            )
    return found


def _list(found: object, path: str) -> list[Any]:
    if found is None:
        return []
    if not isinstance(found, list | tuple):
        raise _wrong(path, found, _("a list"))
    return list(found)


def _parsed(
    read: Callable[[str], _Value], found: object, path: str, expected: str
) -> _Value:
    try:
        return read(str(found).strip())
    except ValueError as error:
        raise _wrong(path, found, expected) from error


def _day(found: object, path: str) -> date:
    if isinstance(found, date) and not isinstance(found, datetime):
        return found
    return _parsed(_iso_day, found, path, _("a date such as 2027-11-18"))


def _iso_day(text: str) -> date:
    found = date.fromisoformat(text)
    # Python 3.11 reads 20270614.5 as a date.
    if found.isoformat() != text:
        raise ValueError(text)
    return found


def _days(block: Mapping[str, Any], key: str) -> list[date]:
    path = f"holidays.{key}"
    return [
        _day(found, f"{path}.{number}")
        for number, found in enumerate(_list(block.get(key), path))
    ]


def _whole_minute(text: str) -> time:
    found = time.fromisoformat(text)
    if found != time(found.hour, found.minute):
        raise ValueError(text)
    return found


def _time(found: object, path: str) -> time:
    return _parsed(_whole_minute, found, path, _('a time such as "10:00"'))


def _hours(found: object) -> dict[date, SessionHours]:
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise _wrong("hours", found, _("a block with dates as keys"))
    hours = {}
    for key, row in found.items():
        path = f"hours.{key}"
        block = _filled(row, path, ("open", "close"))
        opens = _time(block["open"], f"{path}.open")
        closes = _time(block["close"], f"{path}.close")
        if closes <= opens:
            raise _wrong(
                f"{path}.close",
                block["close"],
                _("a time after {opens}").format(opens=opens),
            )
        hours[_day(key, path)] = SessionHours(opens, closes)
    return hours


def _filled(found: object, path: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    block = _block(found, path, keys)
    missing = [key for key in keys if block.get(key) is None]
    if missing:
        raise _wrong(
            f"{path}.{missing[0]}",
            None,
            _("a value; all of {keys} are needed").format(keys=", ".join(keys)),
        )
    return block


def _tax_row(found: object, path: str) -> TaxRow:
    block = _filled(found, path, ("trade_from", "kospi", "kosdaq", "konex"))

    def rate(board: str) -> Fraction:
        return parse_rate(block[board], path=f"{path}.{board}")

    return TaxRow(
        _day(block["trade_from"], f"{path}.trade_from"),
        rate("kospi"),
        rate("kosdaq"),
        rate("konex"),
    )

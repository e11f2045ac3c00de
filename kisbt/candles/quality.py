"""What is odd about stored candles.

Nothing here is an error: a halt, a missing session or a split is a fact the user
should know before believing a backtest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache

import numpy as np

from kisbt.candles.adjust import split_dates, unadjusted_changes, volume_steps
from kisbt.candles.columns import PRICES, CandleColumns, Flags, Floats, Times
from kisbt.candles.labels import session_bounds
from kisbt.candles.store import CandleStore
from kisbt.candles.table import CandleTable, broken, parse_table
from kisbt.errors import BadCandle, MissingCandles
from kisbt.krx.calendar import FIRST_DAY, LAST_DAY, KrxCalendar, default_calendar
from kisbt.krx.limits import limit_pct, price_bands
from kisbt.krx.ticks import tick_sizes, valid_prints
from kisbt.model.candle import Interval
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.text import _

# Off-grid prices above this share say that prices were adjusted. Mid-price prints
# are legal and not counted; raw candles of all other days are wholly on the grid.
ADJUSTED_SHARE = 0.02

# Won by which the rounding of an adjustment may carry a price past the limit.
_ROUNDING_WON = 5.0
_ROUNDING_SHARE = 0.002

# Continuous trading ends so long before the close (closing auction).
_AUCTION_MINUTES = 10


class Oddity(StrEnum):
    """Kinds of findings; the value is stable for scripts."""

    UNREADABLE = "unreadable"
    BROKEN = "broken"
    DUPLICATE = "duplicate"
    UNSORTED = "unsorted"
    CLOSED_DAY = "closed_day"
    WRONG_END = "wrong_end"
    MISSING_SESSION = "missing_session"
    MISSING_MINUTE = "missing_minute"
    HALT = "halt"
    SILENT = "silent"
    BEYOND_LIMIT = "beyond_limit"
    UNADJUSTED_SPLIT = "unadjusted_split"
    VOLUME_STEP = "volume_step"
    OFF_GRID = "off_grid"
    HALF_TICK = "half_tick"
    LOOKS_ADJUSTED = "looks_adjusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of oddity of one symbol.

    Attributes:
        count: rows, sessions or minutes.
        first: where it is seen first, datetime64, None if nowhere in particular.
        detail: for people.
        harmless: expected on good candles (halts, legal half ticks).
    """

    kind: Oddity
    count: int
    first: np.datetime64 | None
    detail: str
    harmless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The state of the candles of one symbol.

    Attributes:
        first, last: END of the first and last row; None without rows.
        rows: in the file. traded: those that are bars (volume, no halt).
        off_grid_share: of the prices, 0 … 1; 0 for an index.
        findings: worst first within the order of `Oddity`.
    """

    instrument: Instrument
    interval: Interval
    adjusted: bool
    first: np.datetime64 | None = None
    last: np.datetime64 | None = None
    rows: int = 0
    traded: int = 0
    off_grid_share: float = 0.0
    findings: tuple[Finding, ...] = ()


def check_symbol(
    store: CandleStore,
    symbol: str,
    interval: Interval,
    *,
    adjusted: bool = True,
    calendar: KrxCalendar | None = None,
) -> Quality:
    """Return the state of one symbol's stored candles.

    Args:
        store: where they are.
        symbol: as stored.
        interval: of a folder of the store; nothing is resampled.
        adjusted: which daily candles.
        calendar: the KRX one by default.

    Raises:
        MissingCandles: there are none.
    """
    path = store.file(symbol, interval, adjusted=adjusted)
    if not path.is_file():
        raise MissingCandles(
            _("no {interval} candles of {symbol}: there is no {file}").format(
                interval=interval, symbol=symbol, file=path
            )
        )
    instrument = store.describe([symbol])[0][symbol]
    blank = Quality(instrument=instrument, interval=interval, adjusted=adjusted)
    try:
        table = parse_table(path)
    except BadCandle as error:
        finding = Finding(
            kind=Oddity.UNREADABLE, count=1, first=None, detail=str(error)
        )
        return _with(blank, (finding,))
    check = _Check(table, blank, calendar or default_calendar())
    return check.result()


def check_columns(
    candles: CandleColumns,
    instrument: Instrument,
    interval: Interval,
    *,
    adjusted: bool = True,
    calendar: KrxCalendar | None = None,
) -> Quality:
    """Return the state of candles in memory; see `check_symbol`."""
    blank = Quality(instrument=instrument, interval=interval, adjusted=adjusted)
    table = CandleTable(
        candles.end, *(getattr(candles, name) for name in (*PRICES, "volume"))
    )
    return _Check(table, blank, calendar or default_calendar()).result()


def _with(blank: Quality, findings: tuple[Finding, ...]) -> Quality:
    return Quality(
        instrument=blank.instrument,
        interval=blank.interval,
        adjusted=blank.adjusted,
        findings=findings,
    )


class _Check:
    """The checks of one table."""

    def __init__(
        self, table: CandleTable, blank: Quality, calendar: KrxCalendar
    ) -> None:
        self._table = table
        self._blank = blank
        self._calendar = calendar
        self._instrument = blank.instrument
        self._daily = blank.interval.is_daily
        self._index = blank.instrument.product is Product.INDEX
        # Minutes are raw whatever was asked for.
        self._raw = not (self._daily and blank.adjusted)
        self._days: Times = table.end.astype("datetime64[D]")
        self._open_days = self._sessions()
        self._on_session = np.isin(self._days, self._open_days)
        halt = (table.open == 0) & (table.high == 0) & (table.low == 0)
        self._halt = halt
        self._silent = (table.volume == 0) & ~halt
        self._broken = broken(table)
        usable = ~halt & ~self._broken & self._on_session
        if not self._index:
            usable &= table.volume > 0
        self._clean = self._ordered(usable)
        self._beyond = self._find_beyond()
        self._jumps = (
            unadjusted_changes(self._clean, self._beyond[1])
            if self._daily and not self._index
            else ()
        )

    def result(self) -> Quality:
        """Run every check."""
        end = self._table.end
        share = self._off_grid_share()
        findings = tuple(
            finding for check in self._checks() for finding in check() if finding.count
        )
        return Quality(
            instrument=self._instrument,
            interval=self._blank.interval,
            adjusted=self._blank.adjusted,
            first=end.min() if end.size else None,
            last=end.max() if end.size else None,
            rows=int(end.size),
            traded=len(self._clean),
            off_grid_share=share,
            findings=findings,
        )

    def _checks(self) -> tuple[Callable[[], Iterator[Finding]], ...]:
        return (
            self._rows,
            self._labels,
            self._coverage,
            self._silence,
            self._limits,
            self._splits,
            self._grid,
        )

    def _sessions(self) -> Times:
        if not self._days.size:
            return self._days
        first = max(self._days.min().item(), FIRST_DAY)
        last = min(self._days.max().item(), LAST_DAY)
        return self._calendar.sessions(first, last)

    def _ordered(self, keep: Flags) -> CandleColumns:
        """Return the rows of `keep`, oldest first, the first of duplicates."""
        end, first = np.unique(self._table.end[keep], return_index=True)
        return CandleColumns(end, *(column[keep][first] for column in self._table[1:]))

    def _found(
        self, kind: Oddity, which: Flags, detail: str, *, harmless: bool = False
    ) -> Finding:
        count = int(which.sum())
        return Finding(
            kind=kind,
            count=count,
            first=self._table.end[int(np.argmax(which))] if count else None,
            detail=detail,
            harmless=harmless,
        )

    def _rows(self) -> Iterator[Finding]:
        yield self._found(
            Oddity.BROKEN,
            self._broken,
            _("price not above zero, open or close outside low to high, or volume < 0"),
        )
        steps = np.diff(self._table.end).astype(np.int64)
        again = np.zeros(self._table.end.size, dtype=bool)
        labels = self._days if self._daily else self._table.end
        order = np.argsort(labels, kind="stable")
        again[order[1:]] = labels[order][1:] == labels[order][:-1]
        yield self._found(Oddity.DUPLICATE, again, _("the time is there already"))
        back = np.r_[False, steps < 0]
        yield self._found(Oddity.UNSORTED, back, _("comes before the row above it"))

    def _labels(self) -> Iterator[Finding]:
        closed = ~self._on_session
        yield self._found(
            Oddity.CLOSED_DAY, closed, _("the exchange was closed on that day")
        )
        end, days = self._table.end[~closed], self._days[~closed]
        wrong = np.zeros(closed.size, dtype=bool)
        if self._daily:
            wrong[~closed] = end != self._calendar.close_times(days)
        else:
            opens, closes = session_bounds(days, self._calendar)
            wrong[~closed] = (end <= opens) | (end > closes)
        detail = (
            _("the label is not the close of that session")
            if self._daily
            else _("the label is outside the session")
        )
        yield self._found(Oddity.WRONG_END, wrong, detail)

    def _coverage(self) -> Iterator[Finding]:
        missing = self._open_days[~np.isin(self._open_days, self._days)]
        yield Finding(
            kind=Oddity.MISSING_SESSION,
            count=int(missing.size),
            first=missing[0] if missing.size else None,
            detail=_(
                "sessions without a row between the first and the last: {days}"
            ).format(days=_some(missing)),
        )
        if self._daily or not len(self._clean):
            return
        minutes = self._blank.interval.minutes
        assert minutes is not None
        days, rows = np.unique(self._clean.sessions, return_counts=True)
        opens, closes = session_bounds(days, self._calendar)
        length = (closes - opens).astype("timedelta64[m]").astype(np.int64)
        # The closing auction prints once, in a candle of its own unless the last
        # of continuous trading reaches that far.
        continuous = -(-(length - _AUCTION_MINUTES) // minutes)
        expected = continuous + (-(-length // minutes) > continuous)
        short = expected - rows
        yield Finding(
            kind=Oddity.MISSING_MINUTE,
            count=int(short[short > 0].sum()),
            first=days[int(np.argmax(short > 0))] if (short > 0).any() else None,
            detail=_(
                "candles fewer than a session has, on {count} of {days} sessions"
            ).format(count=int((short > 0).sum()), days=days.size),
            harmless=True,
        )

    def _silence(self) -> Iterator[Finding]:
        yield self._found(
            Oddity.HALT, self._halt, _("trading halted: no bar"), harmless=True
        )
        if not self._index:
            yield self._found(
                Oddity.SILENT, self._silent, _("volume 0: no bar"), harmless=True
            )

    def _limits(self) -> Iterator[Finding]:
        beyond = self._beyond[0] & ~np.isin(self._clean.sessions, self._known_jumps())
        count = int(beyond.sum())
        at = int(np.argmax(beyond)) if count else 0
        detail = _("high or low past the daily limit")
        if count:
            base, high, low = (
                self._bases()[at],
                self._clean.high[at],
                self._clean.low[at],
            )
            detail += _(
                ", first: {low:,.10g} to {high:,.10g} after {base:,.10g}"
            ).format(low=low, high=high, base=base)
        yield Finding(
            kind=Oddity.BEYOND_LIMIT,
            count=count,
            first=self._clean.end[at] if count else None,
            detail=detail,
        )

    def _splits(self) -> Iterator[Finding]:
        if not self._daily or self._index:
            return
        jumps = self._jumps
        yield Finding(
            kind=Oddity.UNADJUSTED_SPLIT,
            count=len(jumps),
            first=jumps[0].session if jumps else None,
            detail=_("price and volume step against each other: {list}").format(
                list="; ".join(
                    _("{day}: price × {price:.3g}, volume × {volume:.3g}").format(
                        day=jump.session,
                        price=jump.price_ratio,
                        volume=jump.volume_ratio,
                    )
                    for jump in jumps[:3]
                )
            ),
            harmless=not self._blank.adjusted,
        )
        if not self._blank.adjusted:
            return
        steps = volume_steps(self._ordered(~self._broken & self._on_session))
        yield Finding(
            kind=Oddity.VOLUME_STEP,
            count=len(steps),
            first=steps[0].session if steps else None,
            detail=_(
                "volume steps up after a halt, as if a split was adjusted in the prices "
                "only: {list}"
            ).format(
                list="; ".join(
                    f"{step.session} × {step.volume_ratio:.3g}" for step in steps[:3]
                )
            ),
            harmless=True,
        )

    def _grid(self) -> Iterator[Finding]:
        if self._index or not self._raw:
            return
        off, half = np.zeros(len(self._clean), bool), np.zeros(len(self._clean), bool)
        for name in PRICES:
            price = getattr(self._clean, name)
            valid = self._valid(price)
            off |= ~valid
            half |= valid & (price % self._ticks(price) != 0)
        looks = self._off_grid_share() > ADJUSTED_SHARE
        yield Finding(
            kind=Oddity.LOOKS_ADJUSTED if looks else Oddity.OFF_GRID,
            count=int(off.sum()),
            first=self._clean.end[int(np.argmax(off))] if off.any() else None,
            detail=_(
                "{share:.0%} of the prices are off the tick grid: these are adjusted, "
                "not raw"
            ).format(share=self._off_grid_share())
            if looks
            else _("a price off the tick grid"),
        )
        yield Finding(
            kind=Oddity.HALF_TICK,
            count=int(half.sum()),
            first=self._clean.end[int(np.argmax(half))] if half.any() else None,
            detail=_("half a tick, a mid-price order (legal since 2025-03-04)"),
            harmless=True,
        )

    def _valid(self, price: Floats) -> Flags:
        return valid_prints(
            price,
            self._clean.sessions,
            market=self._instrument.market,
            product=self._instrument.product,
        )

    def _ticks(self, price: Floats) -> Floats:
        return tick_sizes(
            price,
            self._clean.sessions,
            market=self._instrument.market,
            product=self._instrument.product,
        )

    def _off_grid_share(self) -> float:
        if self._index or not len(self._clean):
            return 0.0
        valid = [self._valid(getattr(self._clean, name)).mean() for name in PRICES]
        return float(1.0 - np.mean(valid))

    def _bases(self) -> Floats:
        """Return the reference price of each clean candle; NaN if it is not known.

        It is the close of the session before, a halted one included: after a
        capital change the halt's row carries the new reference price.
        """
        clean = self._clean
        sessions = clean.sessions
        bases = np.full(len(clean), np.nan)
        if self._daily:
            every = self._ordered(~self._broken & self._on_session)
            place = np.searchsorted(every.end, clean.end)
            bases[place > 0] = every.close[place[place > 0] - 1]
            return bases
        starts = np.flatnonzero(np.r_[True, sessions[1:] != sessions[:-1]])
        day_bases = np.full(starts.size, np.nan)
        day_bases[1:] = clean.close[starts[1:] - 1]
        return day_bases[np.searchsorted(sessions[starts], sessions)]

    def _known_jumps(self) -> Times:
        """Return the sessions on which raw prices leave their limits rightly."""
        return split_dates(self._jumps if self._raw else ())

    def _find_beyond(self) -> tuple[Flags, Flags]:
        """Return which candles leave the limits, and which lie wholly outside."""
        clean = self._clean
        if self._index or not len(clean):
            none = np.zeros(len(clean), dtype=bool)
            return none, none
        lower, upper = self._bands(self._bases())
        with np.errstate(invalid="ignore"):
            part: Flags = (clean.high > upper) | (clean.low < lower)
            whole: Flags = (clean.low > upper) | (clean.high < lower)
        # After missing sessions the last close is not the base any more; a split
        # may be told from it all the same.
        return part & self._follows(), whole

    def _follows(self) -> Flags:
        """Return which candles have the session before theirs in the file."""
        before = np.searchsorted(self._open_days, self._clean.sessions) - 1
        known = np.isin(self._open_days, self._days)
        found: Flags = (before >= 0) & known[np.maximum(before, 0)]
        return found

    def _bands(self, bases: Floats) -> tuple[Floats, Floats]:
        item, sessions = self._instrument, self._clean.sessions
        if self._raw:
            return price_bands(
                bases,
                sessions,
                market=item.market,
                product=item.product,
                leverage=item.leverage,
            )
        # The exchange rounds its limits towards the base price, so an adjusted
        # price is within base × (1 ± limit) but for its own rounding.
        days, positions = np.unique(sessions, return_inverse=True)
        pct = np.array(
            [
                _limit_pct(item.market, item.product, item.leverage, day)
                for day in days.tolist()
            ]
        )[positions]
        slack = np.maximum(_ROUNDING_WON, _ROUNDING_SHARE * bases)
        return bases * (1 - pct) - slack, bases * (1 + pct) + slack


@lru_cache(maxsize=1 << 15)
def _limit_pct(
    market: Market, product: Product, leverage: float, session: date
) -> float:
    found = limit_pct(
        market=market, product=product, session=session, leverage=leverage
    )
    return float("nan") if found is None else found


def _some(days: Times) -> str:
    shown = ", ".join(str(day) for day in days[:3])
    return f"{shown} …" if days.size > 3 else shown

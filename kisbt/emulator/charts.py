"""Rows of charts, as the broker labels and orders them."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from itertools import accumulate, groupby

from kisbt.candles.columns import CandleColumns
from kisbt.emulator.engine import Forming
from kisbt.emulator.market import Bar, Listing
from kisbt.model.instrument import Product
from kisbt.model.quote import ChartRow, Period


def shown(listing: Listing) -> Callable[[float], float]:
    """Return how a price goes out: whole won, or index points as they are."""
    return _points if listing.instrument.product is Product.INDEX else _won


def _won(value: float) -> float:
    return float(round(value))


def _points(value: float) -> float:
    return value


def daily_rows(
    days: CandleColumns, before: float, show: Callable[[float], float]
) -> list[ChartRow]:
    """Return daily candles as rows, oldest first.

    Args:
        days: the candles.
        before: close before the first of them; 0 if there is none.
        show: how a price goes out.
    """
    closes = [before or (float(days.open[0]) if len(days) else 0.0)]
    closes += days.close.tolist()
    return [
        ChartRow(
            day=day,
            open=show(open_),
            high=show(high),
            low=show(low),
            close=show(close),
            volume=int(volume),
            # The store has no turnover: shares at the middle of the day's range.
            amount=round(volume * (high + low + close) / 3),
            change=show(close) - show(previous),
            rebase_code="00",
        )
        for day, open_, high, low, close, volume, previous in zip(
            days.sessions.tolist(),
            days.open.tolist(),
            days.high.tolist(),
            days.low.tolist(),
            days.close.tolist(),
            days.volume.tolist(),
            closes[:-1],
            strict=True,
        )
    ]


def running_row(listing: Listing) -> ChartRow:
    """Return the session under way as a row."""
    show = shown(listing)
    return ChartRow(
        day=listing.session,
        open=show(listing.open),
        high=show(listing.high),
        low=show(listing.low),
        close=show(listing.last),
        volume=listing.volume,
        amount=round(listing.value),
        change=show(listing.last) - show(listing.base),
        rebase_code="00",
    )


def _week(day: date) -> tuple[int, int]:
    return day.isocalendar()[:2]


_GROUPS: dict[Period, Callable[[date], object]] = {
    Period.WEEK: _week,
    Period.MONTH: lambda day: (day.year, day.month),
    Period.YEAR: lambda day: day.year,
}


def grouped(rows: Sequence[ChartRow], period: Period) -> list[ChartRow]:
    """Return days as weeks, months or years, oldest first.

    A row carries the date of its last day and changes against the row before.
    """
    found: list[ChartRow] = []
    for _key, part in groupby(rows, key=lambda row: _GROUPS[period](row.day)):
        days = list(part)
        first, last = days[0], days[-1]
        before = found[-1].close if found else first.close - first.change
        found.append(
            replace(
                last,
                open=first.open,
                high=max(day.high for day in days),
                low=min(day.low for day in days),
                volume=sum(day.volume for day in days),
                amount=sum(day.amount for day in days),
                change=last.close - before,
            )
        )
    return found


def minute_rows(
    bars: Sequence[Bar], until: time, most: int, closes: time
) -> tuple[ChartRow, ...]:
    """Return the newest minutes that start at or before a time, newest first.

    Args:
        bars: minutes of one session, oldest first.
        until: START label of the newest row asked for.
        most: rows.
        closes: when the session ends; the closing auction is labelled with it.
    """
    labels = [_label(bar, closes) for bar in bars]
    totals = list(accumulate(round(bar.volume * bar.close) for bar in bars))
    stop = bisect_right(labels, until)
    return tuple(
        ChartRow(
            day=bars[at].start.date(),
            start=labels[at],
            open=bars[at].open,
            high=bars[at].high,
            low=bars[at].low,
            close=bars[at].close,
            volume=bars[at].volume,
            amount=totals[at],
        )
        for at in range(stop - 1, max(-1, stop - 1 - most), -1)
    )


def _label(bar: Bar, closes: time) -> time:
    # The broker labels the closing auction 153000, a minute of its own.
    auction = bar.end.time() == closes and bar.open == bar.high == bar.low == bar.close
    return closes if auction else bar.start.time()


def flat_row(listing: Listing, day: date, until: time) -> ChartRow:
    """Return a minute in which nothing traded, at the last price."""
    show = shown(listing)
    price = show(listing.last)
    minute = until.replace(second=0, microsecond=0)
    return ChartRow(
        day=day,
        start=minute,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=0,
        amount=round(listing.value),
    )


def with_inserted(
    bars: Sequence[Bar], inserted: Mapping[datetime, Forming], closes: time
) -> list[Bar]:
    """Return a symbol's minutes with the trades that no candle has.

    Args:
        bars: of the scenario, oldest first.
        inserted: minutes of the other trades, made at the last price, by start.
        closes: when the session ends.
    """
    # The closing auction is a minute of its own, after the last one.
    bars = [
        replace(bar, start=bar.end) if _label(bar, closes) == closes else bar
        for bar in bars
    ]
    made = []
    for bar in bars:
        more = inserted.get(bar.start)
        if more is None:
            made.append(bar)
            continue
        made.append(
            replace(
                bar,
                open=more.open,
                high=max(bar.high, more.high),
                low=min(bar.low, more.low),
                volume=bar.volume + more.volume,
            )
        )
    known = {bar.start for bar in bars}
    symbol = bars[0].symbol if bars else ""
    made += [
        Bar(
            symbol,
            start,
            start,  # no auction, whatever it looks like
            more.open,
            more.high,
            more.low,
            more.close,
            more.volume,
        )
        for start, more in inserted.items()
        if start not in known
    ]
    return sorted(made, key=lambda bar: bar.start)

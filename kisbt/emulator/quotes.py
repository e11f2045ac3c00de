"""What the market side answers: prices, books, trades, charts, master data."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np

from kisbt.candles.columns import CandleColumns
from kisbt.emulator.charts import (
    daily_rows,
    flat_row,
    grouped,
    minute_rows,
    running_row,
    shown,
    with_inserted,
)
from kisbt.emulator.engine import Engine
from kisbt.emulator.market import Bar, Listing
from kisbt.kis.wire.requests import (
    DailyChartQuery,
    DailyPricesQuery,
    FluctuationQuery,
    HolidayQuery,
    IndexChartQuery,
    IndexDaysQuery,
    IndexMinutesQuery,
    IndexQuery,
    InfoQuery,
    MinutesQuery,
    MultiPriceQuery,
    PastMinutesQuery,
    SymbolQuery,
    TimedTradesQuery,
    VolumeRankQuery,
)
from kisbt.krx.calendar import KrxCalendar
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.model.quote import (
    Board,
    Chart,
    ChartHead,
    ChartRow,
    DayStatus,
    IndexDays,
    IndexValue,
    Level,
    MultiPrice,
    Period,
    Price,
    ProductInfo,
    Quote,
    RankRow,
    SymbolInfo,
    Trade,
    TradeList,
)

# Rows of one answer. Source: portal, the calls' own tables.
_CHART_ROWS = 100
_INDEX_ROWS = 50
_DAILY_ROWS = 30
_TRADE_ROWS = 30
_MINUTE_ROWS = 30
_PAST_MINUTE_ROWS = 120
_INDEX_MINUTE_ROWS = 102
_RANK_ROWS = 30
_HOLIDAY_ROWS = 25
_YEAR_ROWS = 250

# Four-digit index codes of the broker, as stores name the indices.
_INDEX_CODES = {"0001": "KOSPI", "1001": "KOSDAQ", "2001": "KOSPI200"}
_HALTED, _NORMAL = "58", "55"
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Quotes:
    """Questions about the market, answered from the floor and the scenario."""

    engine: Engine
    calendar: KrxCalendar

    def _listing(self, symbol: str) -> Listing | None:
        listings = self.engine.floor.listings
        return listings.get(symbol) or listings.get(symbol.removeprefix("A"))

    @property
    def _now(self) -> datetime:
        return self.engine.floor.now

    # Now.

    def price(self, request: SymbolQuery) -> Price:
        """Return the price now; zeros for an unknown symbol, as the broker does."""
        listing = self._listing(request.symbol)
        if listing is None:
            return Price(
                symbol=request.symbol,
                price=0,
                change=0,
                change_pct=0.0,
                open=0,
                high=0,
                low=0,
                volume=0,
                amount=0,
                base_price=0,
                upper_limit=0,
                lower_limit=0,
                tick_size=0,
            )
        high, low = self._year_range(listing)
        band = listing.band
        return Price(
            symbol=listing.symbol,
            price=round(listing.last),
            change=round(listing.last - listing.base),
            change_pct=_change_pct(listing),
            open=round(listing.open),
            high=round(listing.high),
            low=round(listing.low),
            volume=listing.volume,
            amount=round(listing.value),
            base_price=round(listing.base),
            upper_limit=band.upper if band else 0,
            lower_limit=band.lower if band else 0,
            tick_size=listing.tick(listing.last) if listing.tradable else 0,
            average_price=_average(listing),
            market_name=_board_name(listing.instrument),
            status=_HALTED if listing.halted or listing.delisted else _NORMAL,
            suspended=listing.halted,
            high_52w=high,
            low_52w=low,
        )

    def _year_range(self, listing: Listing) -> tuple[int, int]:
        if listing.year_range is None:
            past = self._past(listing, adjusted=True)
            year = past.slice(max(0, len(past) - _YEAR_ROWS), None)
            listing.year_range = (
                float(year.high.max()) if len(year) else 0.0,
                float(year.low.min()) if len(year) else 0.0,
            )
        high, low = listing.year_range
        lows = [price for price in (low, listing.low) if price]
        return round(max(high, listing.high)), round(min(lows, default=0))

    def quote(self, request: SymbolQuery) -> Quote:
        """Return the order book now."""
        listing = self._listing(request.symbol)
        moment = self._now.time().replace(microsecond=0)
        if listing is None:
            return Quote(
                symbol=request.symbol,
                time=moment,
                asks=(),
                bids=(),
                total_ask=0,
                total_bid=0,
            )
        return quote_of(listing, moment)

    def trades(self, request: SymbolQuery) -> tuple[Trade, ...]:
        """Return the last trades, newest first."""
        listing = self._listing(request.symbol)
        return self._trades(listing, None) if listing else ()

    def timed_trades(self, request: TimedTradesQuery) -> TradeList:
        """Return the trades up to a time, newest first."""
        listing = self._listing(request.symbol)
        rows = self._trades(listing, request.until) if listing else ()
        return TradeList(head=self._head(listing, request.symbol), rows=rows)

    def _trades(self, listing: Listing, until: time | None) -> tuple[Trade, ...]:
        rows: list[Trade] = []
        total = listing.volume
        book = listing.book()
        strength = _strength(listing)
        for trade in reversed(listing.trades):
            at = trade.time.time().replace(microsecond=0)
            if until is None or at <= until:
                rows.append(
                    Trade(
                        time=at,
                        price=round(trade.price),
                        quantity=trade.quantity,
                        change=round(trade.price - listing.base),
                        change_pct=_pct(trade.price - listing.base, listing.base),
                        strength=strength,
                        total_quantity=total,
                        ask=book.asks[0].price,
                        bid=book.bids[0].price,
                    )
                )
            total -= trade.quantity
            if len(rows) == _TRADE_ROWS:
                break
        return tuple(rows)

    def multi_price(self, request: MultiPriceQuery) -> tuple[MultiPrice, ...]:
        """Return the prices of many symbols."""
        found = (self._listing(symbol) for symbol in request.symbols)
        return tuple(_multi_price(listing) for listing in found if listing)

    # Charts.

    def _head(self, listing: Listing | None, symbol: str) -> ChartHead:
        if listing is None:
            return ChartHead(
                name="",
                price=0.0,
                change=0.0,
                change_pct=0.0,
                previous_close=0.0,
                volume=0,
                amount=0,
                symbol=symbol,
            )
        band = listing.band
        whole = shown(listing)
        return ChartHead(
            name=listing.instrument.name,
            price=whole(listing.last),
            change=whole(listing.last - listing.base),
            change_pct=_change_pct(listing),
            previous_close=whole(listing.base),
            volume=listing.volume,
            amount=round(listing.value),
            symbol=listing.symbol,
            open=whole(listing.open),
            high=whole(listing.high),
            low=whole(listing.low),
            upper_limit=band.upper if band else 0,
            lower_limit=band.lower if band else 0,
            previous_volume=self._volume_before(listing),
        )

    def _volume_before(self, listing: Listing) -> int:
        past = self._past(listing, adjusted=False)
        return int(past.volume[-1]) if len(past) else listing.volume_before

    def _past(self, listing: Listing, *, adjusted: bool) -> CandleColumns:
        """Return the daily candles of the sessions that are over."""
        daily = self.engine.scenario.daily(listing.symbol, adjusted=adjusted)
        until = int(np.searchsorted(daily.sessions, np.datetime64(listing.session)))
        return daily.slice(0, until)

    def _rows(
        self,
        listing: Listing,
        *,
        adjusted: bool,
        period: Period,
        first: date | None,
        last: date | None,
        most: int,
    ) -> tuple[ChartRow, ...]:
        """Return the newest rows of a range of dates, newest first."""
        past = self._past(listing, adjusted=adjusted)
        lower = None if first is None else np.datetime64(first, "D")
        upper = None if last is None else np.datetime64(last, "D")
        days = past.between(lower, upper)
        before = -1
        if lower is not None:
            before = int(np.searchsorted(past.sessions, lower)) - 1
        close = float(past.close[before]) if before >= 0 else 0.0
        rows = daily_rows(days, close, shown(listing))
        today = listing.session
        within = (first is None or first <= today) and (last is None or today <= last)
        if listing.volume and within:
            rows.append(running_row(listing))
        if period is not Period.DAY:
            rows = grouped(rows, period)
        return tuple(rows[: -most - 1 : -1])

    def daily_chart(self, request: DailyChartQuery) -> Chart:
        """Return the newest hundred rows of a range of dates."""
        return self._chart(
            self._listing(request.symbol),
            request.symbol,
            request,
            adjusted=request.adjusted,
            most=_CHART_ROWS,
        )

    def _chart(
        self,
        listing: Listing | None,
        symbol: str,
        request: DailyChartQuery | IndexChartQuery,
        *,
        adjusted: bool,
        most: int,
    ) -> Chart:
        rows: tuple[ChartRow, ...] = ()
        if listing is not None:
            rows = self._rows(
                listing,
                adjusted=adjusted,
                period=request.period,
                first=request.first,
                last=request.last,
                most=most,
            )
        return Chart(head=self._head(listing, symbol), rows=rows)

    def daily_prices(self, request: DailyPricesQuery) -> tuple[ChartRow, ...]:
        """Return the last thirty days, weeks or months."""
        listing = self._listing(request.symbol)
        if listing is None:
            return ()
        return self._rows(
            listing,
            adjusted=request.adjusted,
            period=request.period,
            first=None,
            last=None,
            most=_DAILY_ROWS,
        )

    def minutes(self, request: MinutesQuery) -> Chart:
        """Return thirty minutes of today up to a time.

        Before the first trade there is one flat row without volume: clients look
        at the last row without asking whether there is one.
        """
        listing = self._listing(request.symbol)
        if listing is None:
            return Chart(head=self._head(None, request.symbol), rows=())
        until = min(request.until, self._now.time())
        rows = minute_rows(
            self._today(listing.symbol), until, _MINUTE_ROWS, self._closes()
        )
        if not rows:
            rows = (flat_row(listing, self._now.date(), until),)
        return Chart(head=self._head(listing, listing.symbol), rows=rows)

    def _closes(self) -> time:
        session = self.engine.floor.session
        if session is None:
            return time(15, 30)
        return self.calendar.close_time(session).time()

    def _today(self, symbol: str) -> list[Bar]:
        """Return today's minutes, the running one too."""
        closed = self.engine.closed.get(symbol, [])
        bars = [bar for bar in closed if bar.end - bar.start <= _MINUTE]
        forming = self.engine.forming.get(symbol)
        if forming is not None and (not closed or closed[-1].start < forming.start):
            bars.append(
                Bar(
                    symbol,
                    forming.start,
                    forming.start + _MINUTE,
                    forming.open,
                    forming.high,
                    forming.low,
                    forming.close,
                    forming.volume,
                )
            )
        inserted = self.engine.inserted.get(symbol)
        return with_inserted(bars, inserted, self._closes()) if inserted else bars

    def past_minutes(self, request: PastMinutesQuery) -> Chart:
        """Return 120 minutes of a day up to a time."""
        listing = self._listing(request.symbol)
        if listing is None:
            return Chart(head=self._head(None, request.symbol), rows=())
        rows: tuple[ChartRow, ...] = ()
        day, today = request.day, self._now.date()
        if day == today:
            until = min(request.until, self._now.time())
            rows = minute_rows(
                self._today(listing.symbol), until, _PAST_MINUTE_ROWS, self._closes()
            )
        elif day < today and self.calendar.is_session(day):
            rows = minute_rows(
                self._minutes_of(listing.symbol, day),
                request.until,
                _PAST_MINUTE_ROWS,
                self.calendar.close_time(day).time(),
            )
        return Chart(head=self._head(listing, listing.symbol), rows=rows)

    def _minutes_of(self, symbol: str, day: date) -> list[Bar]:
        return [
            bar
            for bar in self.engine.scenario.bars(day)
            if bar.symbol == symbol and bar.end - bar.start <= _MINUTE
        ]

    # Indices.

    def _index(self, code: str) -> Listing | None:
        named = self._listing(_INDEX_CODES.get(code, code))
        if named is not None:
            return named
        # A store may have one index under a code of its own: it is the market's.
        indices = (
            listing
            for listing in self.engine.floor.listings.values()
            if listing.instrument.product is Product.INDEX
        )
        return next(indices, None) if code == "0001" else None

    def index_chart(self, request: IndexChartQuery) -> Chart:
        """Return the newest rows of an index in a range of dates."""
        return self._chart(
            self._index(request.index),
            request.index,
            request,
            adjusted=True,
            most=_INDEX_ROWS,
        )

    def index_value(self, request: IndexQuery) -> IndexValue:
        """Return an index now."""
        return self._index_value(self._index(request.index))

    def _index_value(self, listing: Listing | None) -> IndexValue:
        if listing is None:
            return IndexValue(
                value=0.0,
                change=0.0,
                change_pct=0.0,
                open=0.0,
                high=0.0,
                low=0.0,
                volume=0,
                amount=0,
            )
        stocks = [
            item.last - item.base
            for item in self.engine.floor.listings.values()
            if item.instrument.product is Product.STOCK
        ]
        return IndexValue(
            value=listing.last,
            change=listing.last - listing.base,
            change_pct=_change_pct(listing),
            open=listing.open,
            high=listing.high,
            low=listing.low,
            volume=listing.volume,
            amount=round(listing.value),
            rising=sum(change > 0 for change in stocks),
            falling=sum(change < 0 for change in stocks),
            unchanged=sum(change == 0 for change in stocks),
        )

    def index_days(self, request: IndexDaysQuery) -> IndexDays:
        """Return the values of an index up to a date."""
        listing = self._index(request.index)
        rows: tuple[ChartRow, ...] = ()
        if listing is not None:
            rows = self._rows(
                listing,
                adjusted=True,
                period=request.period,
                first=None,
                last=request.last,
                most=_CHART_ROWS,
            )
        return IndexDays(now=self._index_value(listing), rows=rows)

    def index_minutes(self, request: IndexMinutesQuery) -> Chart:
        """Return today's minutes of an index."""
        listing = self._index(request.index)
        if listing is None:
            return Chart(head=self._head(None, request.index), rows=())
        rows = minute_rows(
            self._today(listing.symbol),
            self._now.time(),
            _INDEX_MINUTE_ROWS,
            self._closes(),
        )
        return Chart(head=self._head(listing, listing.symbol), rows=rows)

    # Days, symbols, rankings.

    def holidays(self, request: HolidayQuery) -> tuple[DayStatus, ...]:
        """Return consecutive dates and whether the market opens on them."""
        first = request.first or self._now.date()
        days = (first + timedelta(days=number) for number in range(_HOLIDAY_ROWS))
        return tuple(self._day_status(day) for day in days)

    def _day_status(self, day: date) -> DayStatus:
        opens = self.calendar.is_session(day)
        return DayStatus(
            day=day,
            weekday=day.weekday(),
            business=opens,
            trading=opens,
            open=opens,
            settles=opens,
        )

    def symbol_info(self, request: InfoQuery) -> SymbolInfo:
        """Return master data of a symbol; blank for an unknown one."""
        listing = self._listing(request.symbol)
        item = listing.instrument if listing else Instrument(symbol=request.symbol)
        known = listing is not None
        return SymbolInfo(
            symbol=item.symbol,
            standard_code=_standard_code(item.symbol) if known else "",
            name=item.name,
            short_name=item.name,
            english_name="",
            market=item.market if known else None,
            product=item.product if known else None,
            listed_shares=0,
            par_value=0,
            previous_close=round(listing.base) if listing else 0,
            suspended=listing.halted if listing else False,
            nxt=known and item.product is Product.STOCK,
        )

    def product_info(self, request: InfoQuery) -> ProductInfo:
        """Return short master data of a symbol; blank for an unknown one."""
        listing = self._listing(request.symbol)
        name = listing.instrument.name if listing else ""
        return ProductInfo(
            symbol=request.symbol,
            standard_code=_standard_code(request.symbol) if listing else "",
            name=name,
            short_name=name,
            english_name="",
            kind="주권" if listing else "",
        )

    def volume_rank(self, request: VolumeRankQuery) -> tuple[RankRow, ...]:
        """Return the most traded symbols."""
        by_amount = request.by in {"3", "4"}
        return self._ranking(
            request,
            sorted(
                self._stocks(request.sector),
                key=lambda item: -(item.value if by_amount else item.volume),
            ),
        )

    def fluctuation(self, request: FluctuationQuery) -> tuple[RankRow, ...]:
        """Return the symbols whose price changed most."""
        from_open = request.by in {"2", "3"}
        falls = request.by in {"1", "3"}

        def change(item: Listing) -> float:
            base = item.open if from_open else item.base
            return _pct(item.last - base, base) * (1 if falls else -1)

        return self._ranking(request, sorted(self._stocks(request.sector), key=change))

    def _stocks(self, sector: str) -> list[Listing]:
        boards = {"0001": Market.KOSPI, "1001": Market.KOSDAQ}
        board = boards.get(sector)
        return [
            item
            for item in self.engine.floor.listings.values()
            if item.tradable and board in {None, item.instrument.market}
        ]

    @staticmethod
    def _ranking(
        request: VolumeRankQuery | FluctuationQuery, listings: Iterable[Listing]
    ) -> tuple[RankRow, ...]:
        lowest, highest = request.lowest or 0, request.highest or float("inf")
        least = request.least_volume or 0
        kept = [
            item
            for item in listings
            if lowest <= item.last <= highest and item.volume >= least
        ]
        return tuple(
            RankRow(
                rank=rank,
                symbol=item.symbol,
                name=item.instrument.name,
                price=round(item.last),
                change=round(item.last - item.base),
                change_pct=_change_pct(item),
                volume=item.volume,
                amount=round(item.value),
            )
            for rank, item in enumerate(kept[:_RANK_ROWS], 1)
        )


def quote_of(
    listing: Listing,
    moment: time,
    *,
    in_auction: bool = False,
    board: Board = Board.KRX,
) -> Quote:
    """Return the derived order book of a listing."""
    book = listing.book()
    return Quote(
        symbol=listing.symbol,
        time=moment,
        asks=tuple(Level(x.price, x.quantity) for x in book.asks if x.price),
        bids=tuple(Level(x.price, x.quantity) for x in book.bids if x.price),
        total_ask=book.ask_total,
        total_bid=book.bid_total,
        expected_price=round(listing.last) if in_auction else 0,
        volume=listing.volume,
        last_price=round(listing.last),
        in_auction=in_auction,
        board=board,
        open=round(listing.open),
        high=round(listing.high),
        low=round(listing.low),
        base_price=round(listing.base),
    )


def _multi_price(listing: Listing) -> MultiPrice:
    book, band = listing.book(), listing.band
    return MultiPrice(
        symbol=listing.symbol,
        name=listing.instrument.name,
        price=round(listing.last),
        change=round(listing.last - listing.base),
        change_pct=_change_pct(listing),
        open=round(listing.open),
        high=round(listing.high),
        low=round(listing.low),
        volume=listing.volume,
        amount=round(listing.value),
        base_price=round(listing.base),
        upper_limit=band.upper if band else 0,
        lower_limit=band.lower if band else 0,
        ask=book.asks[0].price,
        bid=book.bids[0].price,
    )


def _pct(part: float, whole: float) -> float:
    return part / whole * 100 if whole else 0.0


def _change_pct(listing: Listing) -> float:
    return _pct(listing.last - listing.base, listing.base)


def _average(listing: Listing) -> float:
    return listing.value / listing.volume if listing.volume else 0.0


def _strength(listing: Listing) -> float:
    """Return bought over sold volume in per cent."""
    return _pct(listing.buy_volume, listing.sell_volume)


def _board_name(instrument: Instrument) -> str:
    return str(instrument.market)


def _standard_code(symbol: str) -> str:
    return f"KR7{symbol}000"[:12]

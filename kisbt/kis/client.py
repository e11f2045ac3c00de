"""Typed calls to KIS.

Queries are repeated by the kind of their failure and return everything or raise;
an order leaves this machine at most once, whatever happens.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date, time
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from kisbt.clock import Clock, SystemClock
from kisbt.errors import (
    AuthError,
    ConfigError,
    ForeignReply,
    KisError,
    KisRefused,
    MarketRuleError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    WireError,
)
from kisbt.kis.auth import Authenticator, require_from
from kisbt.kis.keys import KisKeys, Secret
from kisbt.kis.ratelimit import (
    MOCK_INTERVAL_S,
    REAL_INTERVAL_S,
    Priority,
    RateLimiter,
)
from kisbt.kis.servers import Server, require_own_keys
from kisbt.kis.transport import HttpReply, HttpRequest, HttpTransport, RequestsTransport
from kisbt.kis.wire import fields as f, market, trading
from kisbt.kis.wire.codes import RETRY, WAIT_S, Retry, data_changed
from kisbt.kis.wire.requests import (
    BalanceQuery,
    BuyingPowerQuery,
    Change,
    ChangeOrder,
    Continuation,
    DailyChartQuery,
    DailyPricesQuery,
    FluctuationQuery,
    HolidayQuery,
    IndexChartQuery,
    IndexMinutesQuery,
    IndexQuery,
    InfoQuery,
    MinutesQuery,
    MultiPriceQuery,
    OpenOrdersQuery,
    OrdersQuery,
    PastMinutesQuery,
    PlaceOrder,
    ProfitQuery,
    Reach,
    SellableQuery,
    SymbolQuery,
    TimedTradesQuery,
    VolumeRankQuery,
)
from kisbt.kis.wire.rest import Reply, RestCall, decode_reply, encode_request
from kisbt.model.account import (
    Balance,
    BuyingPower,
    DayProfits,
    Environment,
    Position,
    Sellable,
    TradeProfits,
)
from kisbt.model.order import (
    BrokerOrder,
    OpenOrder,
    OrderKind,
    OrderTicket,
    OrderTotals,
    Venue,
)
from kisbt.model.ports import NewOrder, OrderHistory, OrderRef
from kisbt.model.quote import (
    Chart,
    ChartRow,
    DayStatus,
    IndexValue,
    MultiPrice,
    Period,
    Price,
    Quote,
    RankRow,
    SymbolInfo,
    Trade,
    TradeList,
)
from kisbt.text import _

log = logging.getLogger(__name__)

Req = TypeVar("Req")
Res = TypeVar("Res")
T = TypeVar("T")

MAX_PAGES = 200
"""Pages of one query; 3,000 orders on mock. A query that goes on is a loop."""
_ATTEMPTS = 4  # of one page
# Later than this, and by most of a turn, an order needs another turn of the rate.
_SLOT_S = 0.05
_RESTARTS = 3  # of a query whose data changed between its pages
_RECENT_DAYS = 88  # inside three months of any length; older orders are archived
_MULTI = 30  # symbols of one multi-price call

# Index words of the candle store, as the index chart knows them.
# Source: idxcode.mst of the master files.
INDEX_CODES = {"KOSPI": "0001", "KOSDAQ": "1001", "KOSPI200": "2001"}


class Orders(StrEnum):
    """What a client does with orders."""

    PLAIN = "plain"
    HASHED = "hashed"
    """Sent with KIS's own hash of them, which costs a call more each."""
    REFUSED = "refused"
    """The keys are for market data."""


class KisClient:
    """Calls of one set of keys; safe for threads.

    It satisfies `OrderGateway`, `MarketData` and `CandleSource`.

    Attributes:
        hold: why no new order may leave at this moment, "" if it may; asked right
            before the first byte. Cancelling is not held.
        on_call: called in the calling thread before each request, a repeated one too:
            whoever watches that thread sees that it gets on.
    """

    def __init__(
        self,
        keys: KisKeys,
        server: Server,
        transport: HttpTransport,
        auth: Authenticator,
        limiter: RateLimiter,
        *,
        clock: Clock | None = None,
        orders: Orders = Orders.PLAIN,
    ) -> None:
        """Join the parts; `open_client` makes them.

        Args:
            keys: of the server's environment.
            server: where the transport leads.
            transport: to that server.
            auth: of these keys.
            limiter: the budget of the app key.
            clock: real, or the emulator's.
            orders: whether and how orders are sent.

        Raises:
            ConfigError: the keys do not belong to the server.
        """
        require_own_keys(server, keys)
        self._keys = keys
        self._server = server
        self._transport = transport
        self._auth = auth
        self._limiter = limiter
        self._clock = clock or SystemClock()
        self._orders = orders
        self._order_lock = threading.Lock()
        self.hold: Callable[[], str] = lambda: ""
        self.on_call: Callable[[], None] = lambda: None
        self._offset_s: float | None = None
        self.unknown_fields: Counter[str] = Counter()
        self._retrying = Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            retry=retry_if_exception(_may_repeat),
            wait=_Wait(),
            sleep=self._clock.sleep,
            reraise=True,
        )

    @property
    def environment(self) -> Environment:
        """Real or mock."""
        return self._server.environment

    @property
    def auth(self) -> Authenticator:
        """Who gets tokens; the stream needs its approval key."""
        return self._auth

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()
        self._limiter.close()

    def clock_offset_s(self) -> float | None:
        """Return KIS's time less ours at the last answer, to a second.

        None before the first answer, or when the answers carry no time.
        """
        return self._offset_s

    # Orders: once.

    def send_order(
        self,
        order: NewOrder,
        *,
        max_wait_s: float | None = None,
        leave: Callable[[], str] | None = None,
    ) -> OrderTicket:
        """Send an order once; never again whatever happens.

        Args:
            order: whole shares, prices on the grid.
            max_wait_s: longest wait for the rate budget.
            leave: called with token, rate and connection at hand, right before the
                first byte leaves; returns why the order is to stay, "" to let it go.

        Raises:
            NotSent: it certainly did not leave; safe to send again. Also when `hold`
                says why it must not, asked right before the first byte.
            KisRefused: KIS said no. RateLimited, AuthError: it said so before
                looking at the order.
            OutcomeUnknown: it may be working; ask, do not send again.
            MarketRuleError: the venue does not know this kind of order.
        """
        self._check_venue(order.venue, order.kind)
        request = PlaceOrder(
            account=self._keys.account,
            side=order.side,
            symbol=order.symbol,
            kind=order.kind,
            quantity=order.quantity,
            price=order.price,
            stop_price=order.stop_price,
            venue=order.venue,
        )
        return self._once(
            trading.ORDER, request, Priority.ORDER, max_wait_s, leave or _at_once
        )

    def amend_order(
        self,
        order: OrderRef,
        *,
        quantity: int | None,
        price: int,
        stop_price: int = 0,
        max_wait_s: float | None = None,
    ) -> OrderTicket:
        """Change price or quantity, once; `quantity` None means all that remains.

        Raises:
            As `send_order`.
        """
        request = ChangeOrder(
            account=self._keys.account,
            change=Change.AMEND,
            branch=order.branch,
            number=order.number,
            kind=order.kind,
            quantity=quantity or 0,
            price=price,
            whole=quantity is None,
            stop_price=stop_price,
            venue=order.venue,
        )
        return self._once(trading.CHANGE, request, Priority.CANCEL, max_wait_s)

    def cancel_order(
        self,
        order: OrderRef,
        *,
        quantity: int | None = None,
        max_wait_s: float | None = None,
    ) -> OrderTicket:
        """Cancel `quantity` shares, or with None all that remains; once.

        Raises:
            As `send_order`.
        """
        request = ChangeOrder(
            account=self._keys.account,
            change=Change.CANCEL,
            branch=order.branch,
            number=order.number,
            kind=order.kind,
            quantity=quantity or 0,
            price=0,
            whole=quantity is None,
            venue=order.venue,
        )
        return self._once(trading.CHANGE, request, Priority.CANCEL, max_wait_s)

    # The account.

    def fetch_orders(
        self, first: date, last: date, *, priority: Priority = Priority.FILLS
    ) -> OrderHistory:
        """Return every order of the account between two dates, both included.

        Raises:
            KisError: not all of them could be read; never a part.
        """
        today = self._clock.now().date()
        border = date.fromordinal(today.toordinal() - _RECENT_DAYS)
        parts: list[tuple[date, date, Reach]] = []
        if first < border:
            yesterday = date.fromordinal(border.toordinal() - 1)
            parts.append((first, min(last, yesterday), Reach.OLDER))
        if last >= border:
            parts.append((max(first, border), last, Reach.RECENT))
        pages: list[OrderHistory] = []
        for begin, end, reach in parts:
            query = OrdersQuery(
                account=self._keys.account,
                first=begin,
                last=end,
                reach=reach,
                # Mock knows one exchange; on the real server all are asked for.
                venue=Venue.KRX if self.environment is Environment.MOCK else None,
            )
            found = self._all_pages(trading.HISTORY, query, priority)
            pages.append(_joined_history(found))
        rows = tuple(row for page in pages for row in page.rows)
        return OrderHistory(rows=rows, totals=_sum(page.totals for page in pages))

    def fetch_open_orders(self) -> tuple[OpenOrder, ...]:
        """Return the orders that may still be amended or cancelled.

        Mock lacks the call: there they are the orders of today with a remainder.
        """
        if not trading.OPEN_ORDERS.endpoint.offered(self.environment):
            today = self._clock.now().date()
            return tuple(
                _as_open(row)
                for row in self.fetch_orders(today, today).rows
                if row.remaining_quantity > 0 and not row.cancelled
            )
        query = OpenOrdersQuery(account=self._keys.account)
        pages = self._all_pages(trading.OPEN_ORDERS, query, Priority.FILLS)
        return _distinct(
            (row for page in pages for row in page),
            lambda row: (row.branch, row.number),
        )

    def fetch_balance(self) -> Balance:
        """Return positions and money.

        Raises:
            KisError: they could not be read; never an empty answer for that.
        """
        query = BalanceQuery(account=self._keys.account)
        pages = self._all_pages(trading.BALANCE, query, Priority.BALANCE)
        rows = (row for page in pages for row in page.positions)
        return Balance(
            positions=_distinct(rows, lambda row: row.symbol), funds=pages[-1].funds
        )

    def fetch_buying_power(
        self, symbol: str, kind: OrderKind, price: int = 0
    ) -> BuyingPower:
        """Return what can be bought of `symbol` now."""
        query = BuyingPowerQuery(
            account=self._keys.account, symbol=symbol, kind=kind, price=price
        )
        return self._ask(trading.BUYING_POWER, query, Priority.BALANCE)

    def fetch_sellable(self, symbol: str) -> Sellable:
        """Return what can be sold of `symbol` now; on mock out of the balance.

        Raises:
            KisRefused: nothing of it is held (on mock with code 40240000).
        """
        if trading.SELLABLE.endpoint.offered(self.environment):
            query = SellableQuery(account=self._keys.account, symbol=symbol)
            return self._ask(trading.SELLABLE, query, Priority.BALANCE)
        for row in self.fetch_balance().positions:
            if row.symbol == symbol:
                return _as_sellable(row)
        raise KisRefused(
            _("{symbol}: nothing held to sell").format(symbol=symbol),
            code="40240000",
            environment=str(self.environment),
        )

    def fetch_trade_profits(
        self, first: date, last: date, symbol: str = ""
    ) -> TradeProfits:
        """Return realised results by symbol and day; the real server only."""
        query = ProfitQuery(
            account=self._keys.account, first=first, last=last, symbol=symbol
        )
        pages = self._all_pages(trading.TRADE_PROFITS, query, Priority.BALANCE)
        rows = tuple(row for page in pages for row in page.rows)
        return TradeProfits(rows=rows, totals=pages[-1].totals)

    def fetch_day_profits(self, first: date, last: date) -> DayProfits:
        """Return realised results by day; the real server only."""
        query = ProfitQuery(account=self._keys.account, first=first, last=last)
        pages = self._all_pages(trading.DAY_PROFITS, query, Priority.BALANCE)
        rows = tuple(row for page in pages for row in page.rows)
        return DayProfits(rows=rows, totals=pages[-1].totals)

    # The market.

    def fetch_price(self, symbol: str) -> Price:
        """Return the last price and the day so far."""
        return self._ask(market.PRICE, SymbolQuery(symbol=symbol))

    def fetch_quote(self, symbol: str) -> Quote:
        """Return the order book."""
        return self._ask(market.QUOTE, SymbolQuery(symbol=symbol))

    def fetch_trades(self, symbol: str) -> tuple[Trade, ...]:
        """Return the latest thirty trades, newest first."""
        return self._ask(market.TRADES, SymbolQuery(symbol=symbol))

    def fetch_trades_until(self, symbol: str, until: time) -> TradeList:
        """Return the last thirty trades of today up to a time, newest first."""
        return self._ask(
            market.TIMED_TRADES, TimedTradesQuery(symbol=symbol, until=until)
        )

    def fetch_recent_days(
        self, symbol: str, period: Period = Period.DAY, *, adjusted: bool = True
    ) -> tuple[ChartRow, ...]:
        """Return the last thirty days, weeks or months, newest first."""
        query = DailyPricesQuery(symbol=symbol, period=period, adjusted=adjusted)
        return self._ask(market.DAILY_PRICES, query)

    def fetch_chart(
        self,
        symbol: str,
        first: date,
        last: date,
        *,
        period: Period = Period.DAY,
        adjusted: bool = True,
    ) -> Chart:
        """Return the newest rows of a range, one page of them."""
        query = DailyChartQuery(
            symbol=symbol, first=first, last=last, period=period, adjusted=adjusted
        )
        return self._ask(market.DAILY_CHART, query)

    def fetch_days(
        self, symbol: str, first: date, last: date, *, adjusted: bool
    ) -> tuple[ChartRow, ...]:
        """Return the daily rows of a range, at most one page, newest first.

        `symbol` may be an index of the candle store: KOSPI, KOSDAQ, KOSPI200.
        """
        if symbol in INDEX_CODES:
            return self.fetch_index_chart(INDEX_CODES[symbol], first, last).rows
        return self.fetch_chart(symbol, first, last, adjusted=adjusted).rows

    def fetch_minutes(
        self, symbol: str, day: date, until: time
    ) -> tuple[ChartRow, ...]:
        """Return the minutes of `day` up to `until`, at most one page.

        Raises:
            KisRefused: `day` is past and the server is mock, which has today only
                (code OPSQ0002).
        """
        if day == self._clock.now().date():
            today = MinutesQuery(symbol=symbol, until=until)
            return self._ask(market.MINUTES, today).rows
        past = PastMinutesQuery(symbol=symbol, day=day, until=until)
        return self._ask(market.PAST_MINUTES, past).rows

    def fetch_index_chart(
        self, index: str, first: date, last: date, *, period: Period = Period.DAY
    ) -> Chart:
        """Return the newest rows of an index (0001 KOSPI, 1001 KOSDAQ) in a range."""
        query = IndexChartQuery(index=index, first=first, last=last, period=period)
        return self._ask(market.INDEX_CHART, query)

    def fetch_index(self, index: str) -> IndexValue:
        """Return an index now; the real server only."""
        return self._ask(market.INDEX_VALUE, IndexQuery(index=index))

    def fetch_index_minutes(self, index: str) -> Chart:
        """Return the minutes of an index today; the real server only."""
        return self._ask(market.INDEX_MINUTES, IndexMinutesQuery(index=index))

    def fetch_sessions(self, first: date) -> tuple[DayStatus, ...]:
        """Return which dates from `first` on are trading dates; the real server only.

        KIS asks for one such call a day at most.
        """
        return self._ask(market.HOLIDAYS, HolidayQuery(first=first))

    def fetch_symbol_info(self, symbol: str) -> SymbolInfo:
        """Return the master data of a symbol; the real server only."""
        return self._ask(market.SYMBOL_INFO, InfoQuery(symbol=symbol))

    def fetch_prices(self, symbols: Sequence[str]) -> tuple[MultiPrice, ...]:
        """Return the prices of many symbols; on mock one after the other.

        On mock the names and the best bid and ask are missing.
        """
        if not market.MULTI_PRICE.endpoint.offered(self.environment):
            return tuple(_as_multi(self.fetch_price(symbol)) for symbol in symbols)
        found: list[MultiPrice] = []
        for start in range(0, len(symbols), _MULTI):
            part = tuple(symbols[start : start + _MULTI])
            rows = self._ask(market.MULTI_PRICE, MultiPriceQuery(symbols=part))
            found.extend(rows)
        return tuple(found)

    def fetch_volume_rank(
        self, query: VolumeRankQuery | None = None
    ) -> tuple[RankRow, ...]:
        """Return the most traded symbols; the real server only."""
        return self._ask(market.VOLUME_RANK, query or VolumeRankQuery())

    def fetch_fluctuation_rank(
        self, query: FluctuationQuery | None = None
    ) -> tuple[RankRow, ...]:
        """Return the symbols that moved most; the real server only."""
        return self._ask(market.FLUCTUATION, query or FluctuationQuery())

    # How a call is made.

    def _once(
        self,
        call: RestCall[Req, Res],
        request: Req,
        priority: Priority,
        max_wait_s: float | None,
        leave: Callable[[], str] | None = None,
    ) -> Res:
        """Make a call that may change something: at most one body leaves.

        One with `leave` may be held.
        """
        if self._orders is Orders.REFUSED:
            raise ConfigError(
                _(
                    "the keys named {profile} are for market data only (kis."
                    "data_profile); no order is sent with them"
                ).format(profile=self._keys.profile),
                path="kis.data_profile",
            )
        with self._order_lock:
            token, hash_key = self._before_order(call, request)
            self._limiter.acquire(priority, max_wait_s=max_wait_s)
            last_look = None
            if leave is not None:
                last_look = partial(self._leave, leave, priority, max_wait_s)
            try:
                reply = self._exchange(
                    call,
                    request,
                    token,
                    position=None,
                    hash_key=hash_key,
                    leave=last_look,
                )
                return reply.value
            except RateLimited as error:
                self._limiter.throttled(error.retry_after_s)
                raise
            except AuthError:
                self._auth.discard(token)  # for the next call; this one is over
                raise

    def _leave(
        self,
        leave: Callable[[], str],
        priority: Priority,
        max_wait_s: float | None,
    ) -> str:
        """Return why an order is not to leave after all, "" to let it go.

        Raised here, an error would carry the headers of all above it along.
        """
        began_s = self._clock.monotonic()
        stays = leave()
        if stays:
            return stays
        late_s = self._clock.monotonic() - began_s
        if late_s > max(_SLOT_S, 0.8 * self._limiter.turn_s):
            # The next call may have had its turn already.
            stays = self._limiter.wait_turn(priority, max_wait_s=max_wait_s)
            if stays:
                return stays
        # While token, rate, connection or journal were waited for.
        return self.hold()

    def _before_order(
        self, call: RestCall[Req, Res], request: Req
    ) -> tuple[Secret, str]:
        """Return token and hash; where there is none, the order has not been sent."""
        try:
            token = self._auth.token()
            if self._orders is not Orders.HASHED:
                return token, ""
            wire = encode_request(call, request, environment=self.environment)
            return token, self._auth.hash_key(wire.body or {})
        except KisError as error:
            raise NotSent(
                _("{call} was not sent: there is no token. {why}").format(
                    call=call.name, why=error
                ),
                environment=str(self.environment),
            ) from error

    def _ask(
        self,
        call: RestCall[Req, Res],
        request: Req,
        priority: Priority = Priority.MARKET_DATA,
    ) -> Res:
        """Make a query, again if its failure allows."""
        return self._page(call, request, priority, None).value

    def _page(
        self,
        call: RestCall[Req, Res],
        request: Req,
        priority: Priority,
        position: Continuation | None,
    ) -> Reply[Res]:
        return self._retrying(self._attempt, call, request, priority, position)

    def _attempt(
        self,
        call: RestCall[Req, Res],
        request: Req,
        priority: Priority,
        position: Continuation | None,
    ) -> Reply[Res]:
        token = self._auth.token()
        try:
            return self._query_once(call, request, priority, position, token)
        except AuthError:
            renewed = self._auth.renew(token)
            return self._query_once(call, request, priority, position, renewed)

    def _query_once(
        self,
        call: RestCall[Req, Res],
        request: Req,
        priority: Priority,
        position: Continuation | None,
        token: Secret,
    ) -> Reply[Res]:
        self._limiter.acquire(priority)
        try:
            return self._exchange(call, request, token, position=position)
        except RateLimited as error:
            self._limiter.throttled(error.retry_after_s)
            raise

    def _exchange(
        self,
        call: RestCall[Req, Res],
        request: Req,
        token: Secret,
        *,
        position: Continuation | None,
        hash_key: str = "",
        leave: Callable[[], str] | None = None,
    ) -> Reply[Res]:
        """Send one request and read its answer."""
        self.on_call()
        wire = encode_request(
            call, request, environment=self.environment, position=position
        )
        reply = self._transport.send(
            HttpRequest(
                method=wire.method,
                path=wire.path,
                headers={
                    "content-type": f.FORM,
                    **wire.headers,
                    f.H_TOKEN: Secret(f"Bearer {token.reveal()}"),
                    f.H_APP_KEY: self._keys.app_key,
                    f.H_APP_SECRET: self._keys.app_secret,
                    **({f.H_HASH: hash_key} if hash_key else {}),
                },
                query=wire.query,
                body=wire.body,
                fresh=wire.body is not None,
                leave=leave,
                tr_id=wire.tr_id,
            )
        )
        require_from(reply, self._server, tr_id=wire.tr_id)
        self._note_date(reply)
        self._require_authorised(reply, wire.tr_id)
        answer = decode_reply(
            call,
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            environment=self.environment,
            tr_id=wire.tr_id,
        )
        for name in answer.unknown:
            if not self.unknown_fields[f"{call.name}.{name}"]:
                log.info("new field ignored: %s %s", call.name, name)
            self.unknown_fields[f"{call.name}.{name}"] += 1
        return answer

    def _note_date(self, reply: HttpReply) -> None:
        text = reply.headers.get("date")
        if not text:
            return
        try:
            theirs = parsedate_to_datetime(text)
            self._offset_s = (theirs - self._clock.now()).total_seconds()
        except (ValueError, TypeError, OverflowError):  # also one without a zone
            self._offset_s = None

    def _require_authorised(self, reply: HttpReply, tr_id: str) -> None:
        if reply.status == 401 and reply.json() is None:
            raise AuthError(
                _("KIS refused: status 401"),
                code="401",
                http_status=401,
                tr_id=tr_id,
                environment=str(self.environment),
            )

    def _all_pages(
        self, call: RestCall[Req, Res], request: Req, priority: Priority
    ) -> list[Res]:
        """Return every page of a query, from the start again if its data changed.

        Raises:
            WireError: the pages do not end.
            KisError: a page could not be read.
        """
        for _restart in range(_RESTARTS):
            try:
                return list(self._pages(call, request, priority))
            except KisRefused as error:
                if not data_changed(error.reply):
                    raise
                log.info("data changed between pages: %s", call.name)
        raise OutcomeUnknown(
            _("{call}: KIS's data kept changing between the pages; ask again").format(
                call=call.name
            ),
            environment=str(self.environment),
        )

    def _pages(
        self, call: RestCall[Req, Res], request: Req, priority: Priority
    ) -> Iterator[Res]:
        position: Continuation | None = None
        for _number in range(MAX_PAGES):
            reply = self._page(call, request, priority, position)
            yield reply.value
            if not reply.more:
                return
            if reply.position == position or not reply.position.key.strip():
                break
            position = reply.position
        raise WireError(
            _("{call}: the pages do not end; nothing of them is used").format(
                call=call.name
            ),
            environment=str(self.environment),
        )

    def _check_venue(self, venue: Venue, kind: OrderKind) -> None:
        if self.environment is Environment.MOCK and venue is not Venue.KRX:
            raise MarketRuleError(
                _("{venue}: the mock server knows KRX only").format(venue=venue),
                rule="venue",
            )
        if kind not in trading.VENUE_KINDS[venue]:
            raise MarketRuleError(
                _("{venue} does not take orders of kind {kind}").format(
                    venue=venue, kind=kind
                ),
                rule="order_type",
            )


class _Wait:
    """How long to wait before a query is repeated."""

    def __init__(self) -> None:
        self._growing = wait_random_exponential(multiplier=0.3, max=4.0)

    def __call__(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, RateLimited):
            return 0.0  # the budget itself has been told to wait
        if isinstance(error, KisRefused):
            return WAIT_S.get(error.code, 1.0)
        return 0.1 + self._growing(state)


def _may_repeat(error: BaseException) -> bool:
    """Whether a query may be asked again after `error`."""
    if isinstance(error, ForeignReply | AuthError):
        return False
    if isinstance(error, NotSent | OutcomeUnknown | RateLimited):
        return True
    if isinstance(error, KisRefused) and not data_changed(error.reply):
        return RETRY.get(error.code) in {Retry.SAFE, Retry.QUERY_FIRST}
    return False


def open_client(
    keys: KisKeys,
    server: Server,
    *,
    folder: Path,
    clock: Clock | None = None,
    interval_s: float | None = None,
    orders: Orders = Orders.PLAIN,
) -> KisClient:
    """Return a client; nothing is sent until it is used.

    Args:
        keys: of the server's environment.
        server: KIS or the emulator.
        folder: private; the token and the rate budget, shared by processes.
        clock: real, or the emulator's.
        interval_s: seconds between calls; None for the broker's rate.
        orders: whether and how orders are sent.

    Raises:
        ConfigError: the keys do not belong to the server.
        StorageError: the folder cannot be written.
    """
    require_own_keys(server, keys)
    usual = (
        REAL_INTERVAL_S if server.environment is Environment.REAL else MOCK_INTERVAL_S
    )
    limiter = RateLimiter(
        usual if interval_s is None else interval_s,
        path=folder / f"rate-{keys.fingerprint}.json",
        clock=clock,
    )
    transport = RequestsTransport(server)
    auth = Authenticator(
        keys, server, transport, folder=folder, limiter=limiter, clock=clock
    )
    return KisClient(keys, server, transport, auth, limiter, clock=clock, orders=orders)


def _distinct(rows: Iterator[T], key: Callable[[T], object]) -> tuple[T, ...]:
    """Return the rows, a repeated one once.

    KIS repeats rows at the border of two pages and, for one holding, by venue.

    Raises:
        WireError: two rows of one key differ; neither is believed.
    """
    found: dict[object, T] = {}
    for row in rows:
        name = key(row)
        if found.setdefault(name, row) != row:
            raise WireError(
                _(
                    "two different rows for {name}; KIS's answer contradicts itself, "
                    "so nothing of it is used"
                ).format(name=name)
            )
    return tuple(found.values())


def _joined_history(pages: Sequence[OrderHistory]) -> OrderHistory:
    rows = _distinct(
        (row for page in pages for row in page.rows),
        lambda row: (row.day, row.branch, row.number),
    )
    return OrderHistory(rows=rows, totals=pages[-1].totals)


def _sum(parts: Iterator[OrderTotals]) -> OrderTotals:
    totals = list(parts)
    if len(totals) == 1:
        return totals[0]
    quantity = sum(item.filled_quantity for item in totals)
    amount = sum(item.filled_amount for item in totals)
    return OrderTotals(
        quantity=sum(item.quantity for item in totals),
        filled_quantity=quantity,
        filled_amount=amount,
        costs=sum(item.costs for item in totals),
        average_price=amount / quantity if quantity else 0.0,
    )


def _as_open(row: BrokerOrder) -> OpenOrder:
    return OpenOrder(
        branch=row.branch,
        number=row.number,
        original_number=row.original_number,
        symbol=row.symbol,
        name=row.name,
        side=row.side,
        kind=row.kind,
        kind_note=row.kind_note,
        quantity=row.quantity,
        price=row.price,
        time=row.time,
        filled_quantity=row.filled_quantity,
        filled_amount=row.filled_amount,
        open_quantity=row.remaining_quantity,
        venue=row.venue,
        stop_price=row.stop_price,
    )


def _as_sellable(row: Position) -> Sellable:
    return Sellable(
        symbol=row.symbol,
        name=row.name,
        bought=row.bought_today + row.bought_before,
        sold=row.sold_today + row.sold_before,
        quantity=row.quantity,
        sellable=row.sellable,
        average_price=row.average_price,
        cost=row.cost,
        price=row.price,
        value=row.value,
        profit=row.profit,
        profit_pct=row.profit_pct,
    )


def _as_multi(price: Price) -> MultiPrice:
    return MultiPrice(
        symbol=price.symbol,
        name="",
        price=price.price,
        change=price.change,
        change_pct=price.change_pct,
        open=price.open,
        high=price.high,
        low=price.low,
        volume=price.volume,
        amount=price.amount,
        base_price=price.base_price,
        upper_limit=price.upper_limit,
        lower_limit=price.lower_limit,
        ask=0,
        bid=0,
    )


def _at_once() -> str:
    """Wait for nothing."""
    return ""

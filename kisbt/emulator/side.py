"""One emulated server, mock or real: its keys, its desk and what it answers.

Pure but for the time it is given: a request comes in as texts and goes out as an
answer; sockets are somebody else's.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from kisbt.emulator.answers import Answers
from kisbt.emulator.exchange import Exchange
from kisbt.emulator.faults import FaultPlan
from kisbt.emulator.gate import (
    CallLimit,
    IssuedTooOften,
    KeyPair,
    TokenDesk,
    is_invented,
)
from kisbt.emulator.orders import OrderRefused
from kisbt.emulator.quotes import Quotes
from kisbt.errors import WireError
from kisbt.kis.wire import fields as f, served
from kisbt.kis.wire.auth import (
    GRANT,
    approval_answer,
    hash_answer,
    read_bearer,
    read_credentials,
    revoke_answer,
    token_answer,
)
from kisbt.kis.wire.calls import CALLS
from kisbt.kis.wire.codes import MOCK_NO_ROWS, MOCK_ORDER_DONE
from kisbt.kis.wire.crypto import hash_body
from kisbt.kis.wire.endpoints import (
    Area,
    Endpoint,
    Method,
    Paging,
    Route,
    find_endpoint,
    find_route,
)
from kisbt.kis.wire.requests import Change, ChangeOrder, Continuation, PlaceOrder
from kisbt.kis.wire.rest import (
    NextPage,
    RestCall,
    WireReply,
    decode_position,
    decode_request,
    encode_refusal,
    encode_reply,
)
from kisbt.kis.wire.served import Refused
from kisbt.model.account import Balance, Environment
from kisbt.model.order import Side
from kisbt.model.ports import OrderHistory

_LOG = logging.getLogger(__name__)

_CALLS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it arrived.

    Attributes:
        path: decoded, without the query.
        headers: names in lower case.
        texts: keys of the query, or of the body if it is a JSON object.
        body: as parsed; None without one or if it is no JSON.
        broken: the body is no JSON object.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    texts: Mapping[str, Any]
    body: Any = None
    broken: bool = False

    @property
    def tr_id(self) -> str:
        """Which transaction is asked for."""
        return self.headers.get(f.H_TR_ID, "").strip()


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call the server saw.

    Attributes:
        at_s: seconds of the clock that counts limits.
        name: of the call; its path if it is unknown.
        code: what was answered.
        body: texts of an order, for counting what arrived.
    """

    at_s: float
    time: datetime
    name: str
    tr_id: str
    code: str
    body: Mapping[str, Any]


@dataclass(slots=True)
class Quirks:
    """Habits of the mock server that can be switched on.

    Attributes:
        daily_ccld_empty: the order query has sums but no rows.
        page_size: rows of one answer; None as the broker's.
    """

    daily_ccld_empty: bool = False
    page_size: int | None = None


@dataclass(slots=True)
class Times:
    """Clocks of a server.

    Attributes:
        limit_s: seconds that count rates and the age of tokens.
        stamp: the moment shown in a token's expiry.
    """

    limit_s: Callable[[], float]
    stamp: Callable[[], datetime]


class ServerSide:
    """A KIS server without its sockets.

    Attributes:
        environment: mock or real.
        keys: the only ones it accepts.
        calls: what it was asked, oldest first.
    """

    def __init__(  # noqa: PLR0913 - the parts are made elsewhere
        self,
        environment: Environment,
        exchange: Exchange,
        quotes: Quotes,
        keys: KeyPair,
        times: Times,
        limit: CallLimit,
        faults: FaultPlan,
        *,
        seed: str,
    ) -> None:
        """Join the parts; `seed` makes tokens unlike another run's."""
        self.environment = environment
        self.exchange = exchange
        self.answers = Answers(exchange)
        self.quotes = quotes
        self.keys = keys
        self.times = times
        self.limit = limit
        self.faults = faults
        self.tokens = TokenDesk(seed)
        self.quirks = Quirks()
        self.calls: deque[CallRecord] = deque(maxlen=_CALLS_KEPT)
        self.counts: Counter[str] = Counter()
        self._routes = self._table()
        self._issue_calls: dict[str, float] = {}

    def _table(self) -> dict[str, Callable[[Any], Any]]:
        answers, quotes = self.answers, self.quotes
        return {
            "order_cash": answers.place,
            "order_rvsecncl": answers.change,
            "inquire_psbl_rvsecncl": answers.open_orders,
            "inquire_daily_ccld": answers.history,
            "inquire_balance": answers.balance,
            "inquire_psbl_order": answers.buying_power,
            "inquire_psbl_sell": answers.sellable,
            "inquire_period_trade_profit": answers.trade_profits,
            "inquire_period_profit": answers.day_profits,
            "inquire_price": quotes.price,
            "inquire_asking_price_exp_ccn": quotes.quote,
            "inquire_ccnl": quotes.trades,
            "inquire_time_itemconclusion": quotes.timed_trades,
            "inquire_daily_price": quotes.daily_prices,
            "inquire_daily_itemchartprice": quotes.daily_chart,
            "inquire_time_itemchartprice": quotes.minutes,
            "inquire_time_dailychartprice": quotes.past_minutes,
            "inquire_daily_indexchartprice": quotes.index_chart,
            "inquire_index_price": quotes.index_value,
            "inquire_index_daily_price": quotes.index_days,
            "inquire_time_indexchartprice": quotes.index_minutes,
            "chk_holiday": quotes.holidays,
            "search_stock_info": quotes.symbol_info,
            "search_info": quotes.product_info,
            "volume_rank": quotes.volume_rank,
            "intstock_multprice": quotes.multi_price,
            "fluctuation": quotes.fluctuation,
        }

    @property
    def is_mock(self) -> bool:
        """Whether it is the practice server."""
        return self.environment is Environment.MOCK

    # One request.

    def names(self, request: Incoming) -> tuple[str, ...]:
        """Return the names under which faults may mean a request."""
        route = find_route(request.tr_id, self.environment)
        endpoint = find_endpoint(request.method, request.path)
        call = route.endpoint if route is not None else endpoint
        found = [request.tr_id, call.name if call is not None else request.path]
        found += _ALIASES.get(found[1], ())
        if route is not None:
            found.append(route.variant)
        return tuple(found)

    def answer(self, request: Incoming) -> WireReply:
        """Carry a request out and return its answer."""
        reply = self._answer(request)
        self._record(request, reply)
        return reply

    def _record(self, request: Incoming, reply: WireReply) -> None:
        endpoint = find_endpoint(request.method, request.path)
        route = find_route(request.tr_id, self.environment)
        call = route.endpoint if route is not None else endpoint
        name = call.name if call is not None else request.path
        code = reply.body.get(f.MESSAGE_CODE) or reply.body.get(f.TOKEN_ERROR_CODE)
        self.counts[name] += 1
        is_order = call is not None and call.area is Area.ORDER
        self.calls.append(
            CallRecord(
                at_s=self.times.limit_s(),
                time=self.exchange.floor.now,
                name=name,
                tr_id=request.tr_id,
                code=str(code or ""),
                body=dict(request.texts) if is_order else {},
            )
        )

    def _answer(self, request: Incoming) -> WireReply:
        endpoint = find_endpoint(request.method, request.path)
        if endpoint is not None and endpoint.area is Area.AUTH:
            return self._auth(endpoint, request)
        refused = self._keys_refused(request) or self._token_refused(request)
        if refused is None:
            carried = request.headers.get(f.H_HASH, "")
            if not self.limit.take(self.times.limit_s(), hash_text=carried):
                refused = served.RATE
        if refused is not None:
            return _refusal(refused)
        route = find_route(request.tr_id, self.environment)
        known = endpoint is not None or request.path.lstrip("/").startswith("uapi/")
        if route is None or not known:
            return _refusal(served.NO_SERVICE, request.tr_id)
        if route.endpoint.method is not Method(request.method):
            return _refusal(served.BAD_REQUEST, request.tr_id)
        return self._carry_out(route, request)

    def _keys_refused(self, request: Incoming) -> Refused | None:
        return self._pair_refused(
            request.headers.get(f.H_APP_KEY, ""),
            request.headers.get(f.H_APP_SECRET, ""),
        )

    def _pair_refused(self, key: str, secret: str) -> Refused | None:
        if not key:
            return served.NO_KEY
        if key != self.keys.app_key:
            if not is_invented(key):
                _LOG.warning(
                    "an app key that is not the emulator's was sent: never use keys "
                    "of a real account here"
                )
            return served.BAD_KEY
        if not secret:
            return served.NO_SECRET
        return None if secret == self.keys.app_secret else served.BAD_SECRET

    def _token_refused(self, request: Incoming) -> Refused | None:
        text = read_bearer(request.headers.get(f.H_TOKEN, ""))
        if text is None:
            return served.NO_BEARER
        token = self.tokens.find(text)
        if token is None or token.revoked:
            return served.TOKEN_INVALID
        if self.times.limit_s() >= token.expires:
            return served.TOKEN_EXPIRED
        return None

    # Tokens and keys.

    def _auth(self, endpoint: Endpoint, request: Incoming) -> WireReply:
        if request.broken:
            return served.token_refusal(served.BAD_REQUEST)
        if endpoint.name == "hashkey":
            return self._hash(request)
        who = read_credentials({str(key): v for key, v in request.texts.items()})
        refused = self._pair_refused(who.app_key, who.app_secret)
        if refused is not None:
            return served.token_refusal(refused)
        if endpoint.name == "revoke":
            return self._revoke(who.token)
        if who.grant != GRANT:
            return served.token_refusal(
                served.BAD_GRANT if who.grant else served.NO_GRANT
            )
        return self._approve() if endpoint.name == "approval" else self._issue()

    def _issue(self) -> WireReply:
        now_s = self.times.limit_s()
        try:
            token = self.tokens.issue(now_s, self.times.stamp())
        except IssuedTooOften:
            return served.token_refusal(served.TOO_SOON)
        left = max(0, round(token.expires - now_s))
        return _granted(token_answer(token.text, token.expires_at, left))

    def _approve(self) -> WireReply:
        now_s = self.times.limit_s()
        if self._issued_this_second("approval", now_s):
            return served.token_refusal(served.RATE)
        return _granted(approval_answer(self.tokens.approve(now_s)))

    def _revoke(self, token: str) -> WireReply:
        if not self.tokens.revoke(token):
            return served.token_refusal(served.TOKEN_INVALID)
        return _granted(revoke_answer())

    def _issued_this_second(self, name: str, now_s: float) -> bool:
        """Whether a key was issued within the last second. Limits off: never."""
        last = self._issue_calls.get(name)
        if self.limit.per_second is not None and last is not None and now_s - last < 1:
            return True
        self._issue_calls[name] = now_s
        return False

    def _hash(self, request: Incoming) -> WireReply:
        refused = self._keys_refused(request)
        if refused is None and not self.limit.take(self.times.limit_s()):
            refused = served.RATE
        if refused is not None:
            return _refusal(refused)
        body = {str(key): value for key, value in request.texts.items()}
        text = hash_body(body)
        self.limit.remember_hash(text, self.times.limit_s())
        return _granted(hash_answer(body, text))

    # Calls.

    def _carry_out(self, route: Route, request: Incoming) -> WireReply:
        endpoint, tr_id = route.endpoint, request.tr_id
        call = CALLS[endpoint.name]
        if request.broken:
            return _refusal(served.BAD_JSON, tr_id)
        refused = self._account_refused(call, request) or self._page_refused(
            call, request
        )
        if refused is not None:
            return _refusal(refused, tr_id)
        try:
            asked = decode_request(
                call, request.texts, variant=route.variant, strict=False
            )
        except WireError:
            is_order = endpoint.area is Area.ORDER
            return _refusal(served.BAD_BODY if is_order else served.BAD_FIELD, tr_id)
        try:
            value = self._routes[endpoint.name](asked)
        except OrderRefused as error:
            return _refusal(
                served.order_refusal(error.refusal.value, mock=self.is_mock), tr_id
            )
        return self._encode(call, asked, value, request)

    def _account_refused(
        self, call: RestCall[Any, Any], request: Incoming
    ) -> Refused | None:
        if not call.request.account:
            return None
        texts = {str(name).upper(): value for name, value in request.texts.items()}
        number = str(texts.get(f.ACCOUNT_NUMBER, "")).strip()
        product = str(texts.get(f.ACCOUNT_PRODUCT, "")).strip()
        own = self.exchange.account.number
        return None if f"{number}-{product}" == own else served.BAD_ACCOUNT

    def _encode(
        self,
        call: RestCall[Any, Any],
        asked: Any,
        value: Any,
        request: Incoming,
    ) -> WireReply:
        message = self._message(asked)
        next_page = None
        if call.endpoint.paging in _PAGED:
            value, next_page = self._page(call, value, request)
        if isinstance(value, OrderHistory) and self.is_mock and not value.rows:
            message = MOCK_NO_ROWS
        return encode_reply(
            call,
            value,
            environment=self.environment,
            tr_id=request.tr_id,
            message=message,
            next_page=next_page,
        )

    def _message(self, asked: Any) -> tuple[str, str] | None:
        if not self.is_mock:
            return None
        if isinstance(asked, PlaceOrder):
            return MOCK_ORDER_DONE["buy" if asked.side is Side.BUY else "sell"]
        if isinstance(asked, ChangeOrder):
            amends = asked.change is Change.AMEND
            return MOCK_ORDER_DONE["amend" if amends else "cancel"]
        return None

    # Pages.

    def _page_refused(
        self, call: RestCall[Any, Any], request: Incoming
    ) -> Refused | None:
        """Return the scripted failure of a second or later page."""
        if request.headers.get(f.H_TR_CONT, "").strip() != f.NEXT_PAGE:
            return None
        names = (call.endpoint.name,)
        if self.faults.strike("page", names, do="change_between"):
            return served.CHANGED
        return (
            served.SERVER_ERROR
            if self.faults.strike("page", names, do="fail")
            else None
        )

    def _page(
        self, call: RestCall[Any, Any], value: Any, request: Incoming
    ) -> tuple[Any, NextPage | None]:
        """Return one page of an answer, and where the next one starts."""
        name = call.endpoint.name
        empty = self.quirks.daily_ccld_empty and self.is_mock
        if empty and isinstance(value, OrderHistory):
            return OrderHistory(rows=(), totals=value.totals), None
        rows = _rows_of(value)
        size = self.quirks.page_size or call.endpoint.rows.get(self.environment)
        if size is None:
            size = max(1, len(rows))
        asked = decode_position(call, request.texts)
        wants_next = request.headers.get(f.H_TR_CONT, "").strip() == f.NEXT_PAGE
        start = int(asked.key) if wants_next and asked.key.isdecimal() else 0
        endless = self.faults.strike("page", (name,), do="endless")
        repeat = self.faults.strike("page", (name,), do="repeat")
        if endless is not None:
            start = 0
        if repeat is not None and start:
            start -= 1  # a row of the page before comes again
        part = rows[start : start + size]
        if start + size >= len(rows) and endless is None:
            return _with_rows(value, part), None
        search = f"{self.exchange.account.number.replace('-', '^')}^"
        position = Continuation(search, str(start + size))
        # The first of many pages says M too: one widely used client knows no F.
        return _with_rows(value, part), NextPage(position, first=False)


_PAGED = frozenset({Paging.KEYS_100, Paging.KEYS})
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "order_cash": ("order",),
    "order_rvsecncl": ("change",),
    "inquire_daily_ccld": ("ccld", "query"),
    "inquire_balance": ("balance", "query"),
    "token": ("tokenP",),
}
"""Short names of calls in fault scripts."""


def _rows_of(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Balance):
        return value.positions
    return value if isinstance(value, tuple) else tuple(value.rows)


def _with_rows(value: Any, rows: tuple[Any, ...]) -> Any:
    if isinstance(value, Balance):
        return replace(value, positions=rows)
    return rows if isinstance(value, tuple) else replace(value, rows=rows)


def _refusal(refused: Refused, tr_id: str = "") -> WireReply:
    return encode_refusal(
        refused.code,
        refused.text,
        tr_id=tr_id,
        status=refused.status,
        result=refused.result,
    )


def _granted(body: Mapping[str, Any]) -> WireReply:
    return WireReply(status=200, headers={"Content-Type": f.FORM}, body=body)

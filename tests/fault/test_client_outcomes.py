"""What the client says after each fault of the transport, the gateway and the pages.

The rows carry the numbers of the project's fault table. An order counts as sent when
its body reached the server; no row may send a second one.
"""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from kisbt.clock import ManualClock, SystemClock
from kisbt.errors import (
    AuthError,
    ForeignReply,
    KisError,
    KisRefused,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    WireError,
)
from kisbt.kis import servers
from kisbt.kis.auth import require_from
from kisbt.kis.client import KisClient
from kisbt.kis.servers import emulator_server, kis_server
from kisbt.kis.transport import HttpReply, HttpRequest, RequestsTransport
from kisbt.kis.wire import market, trading
from kisbt.kis.wire.requests import Continuation
from kisbt.kis.wire.rest import NextPage, RestCall, encode_reply
from kisbt.model.account import Balance, Environment, Funds, Position
from kisbt.model.order import BrokerOrder, OrderKind, OrderTotals, Side, Venue
from kisbt.model.ports import NewOrder, OrderHistory, OrderRef
from kisbt.model.quote import Price
from tests.helpers.certificate import self_signed
from tests.helpers.emulator import until
from tests.helpers.kis import (
    ACCEPTED,
    ORDER,
    TOKEN_ANSWER,
    QuickClock,
    client_of,
    refusal,
)
from tests.helpers.loopback import (
    Behaviour,
    Loopback,
    answer,
    close,
    drip,
    hang,
    reset,
    text,
    truncate,
)

pytestmark = pytest.mark.fault

BUY = NewOrder(
    symbol="005930",
    side=Side.BUY,
    quantity=10,
    kind=OrderKind.LIMIT,
    price=70_000,
)
TODAY = date(2026, 11, 20)


def reply(call: RestCall, value: object, **options: object) -> Behaviour:
    """Answer a query with a value."""
    made = encode_reply(call, value, environment=Environment.MOCK, tr_id="", **options)
    marks = made.headers["tr_cont"]
    return answer(made.body, headers=f"tr_cont: {marks}\r\n")


def price() -> Price:
    return Price(
        symbol="005930",
        price=71_500,
        change=500,
        change_pct=0.7,
        open=71_000,
        high=71_900,
        low=70_800,
        volume=12_345,
        amount=882_000_000,
        base_price=71_000,
        upper_limit=92_300,
        lower_limit=49_700,
        tick_size=100,
    )


def order_row(number: int, **changes: object) -> BrokerOrder:
    values: dict[str, object] = {
        "day": TODAY,
        "time": time(10, 5, 12),
        "branch": "00950",
        "number": f"{number:010}",
        "original_number": "",
        "symbol": "005930",
        "name": "삼성전자",
        "side": Side.BUY,
        "side_note": "현금매수",
        "kind": OrderKind.LIMIT,
        "kind_note": "지정가",
        "quantity": 10,
        "price": 70_000,
        "filled_quantity": 0,
        "filled_amount": 0,
        "average_price": 0.0,
        "cancelled": False,
        "cancelled_quantity": 0,
        "remaining_quantity": 10,
        "rejected_quantity": 0,
        "venue": Venue.KRX,
        "channel": "OpnAPI",
    }
    return BrokerOrder(**(values | changes))


TOTALS = OrderTotals(
    quantity=10, filled_quantity=0, filled_amount=0, costs=0, average_price=0.0
)


def page(rows: list[BrokerOrder], key: str = "") -> Behaviour:
    following = NextPage(Continuation("search", key)) if key else None
    history = OrderHistory(rows=tuple(rows), totals=TOTALS)
    return reply(trading.HISTORY, history, next_page=following)


# Rows 5-14, 19, 21, 26: the server has read the order.
READ: dict[str, tuple[Behaviour, type[KisError]]] = {
    "05 accepted, the answer is lost": (close, OutcomeUnknown),
    "06 read time-out": (hang, OutcomeUnknown),
    "08 reset after reading": (reset, OutcomeUnknown),
    "09 answer cut off": (truncate, OutcomeUnknown),
    "10 a web page instead of KIS": (
        text(b"<html>maintenance</html>", headers="Content-Type: text/html\r\n"),
        OutcomeUnknown,
    ),
    "11 502 without a body": (text(b"", status=502), OutcomeUnknown),
    "11 503 with a page": (text(b"<html/>", status=503), OutcomeUnknown),
    "11 504 with JSON that is none of KIS": (
        answer({"message": "timeout"}, status=504),
        OutcomeUnknown,
    ),
    "12 refusal in a 500": (refusal("APBK0952", status=500), KisRefused),
    "12 refusal in a 200": (refusal("40250000", status=200), KisRefused),
    "13 success without a number": (
        answer({"rt_cd": "0", "msg_cd": "40600000", "output": {}}),
        OutcomeUnknown,
    ),
    "13 success with a blank number": (
        answer(ACCEPTED | {"output": ACCEPTED["output"] | {"ODNO": " "}}),
        OutcomeUnknown,
    ),
    "13 success without output": (answer({"rt_cd": "0"}), OutcomeUnknown),
    "14 a code nobody knows": (refusal("ZZZZ9999"), OutcomeUnknown),
    "14 no code": (answer({"rt_cd": "1", "msg1": "?"}), OutcomeUnknown),
    "14 portal says: look first": (refusal("EGW00301"), OutcomeUnknown),
    "15 redirect elsewhere": (
        text(b"", status=307, headers="Location: http://127.0.0.1:9/x\r\n"),
        ForeignReply,
    ),
    "15 redirect with a refusal inside": (
        answer(
            {"rt_cd": "1", "msg_cd": "APBK0952"},
            status=302,
            headers="Location: http://127.0.0.1:9/x\r\n",
        ),
        ForeignReply,
    ),
    "19 slow drip": (drip, OutcomeUnknown),
    "21 too many calls, in a 500": (refusal("EGW00201"), RateLimited),
    "21 too many calls, in a 200": (refusal("EGW00201", status=200), RateLimited),
    "21 ledger limit": (refusal("EGW00215"), RateLimited),
    "26 token expired": (refusal("EGW00123"), AuthError),
    "27 token revoked": (refusal("EGW00121"), AuthError),
    "27 status 401 without a body": (text(b"", status=401), AuthError),
    "200 with a list": (answer([1, 2]), OutcomeUnknown),
    "200 with nothing": (text(b""), OutcomeUnknown),
    "deep JSON": (text(b"[" * 200_000), OutcomeUnknown),
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the deadlines short: hanging servers are waited for."""
    for name, value in (("CONNECT_S", 0.3), ("READ_S", 0.4), ("TOTAL_S", 0.8)):
        monkeypatch.setattr(f"kisbt.kis.transport.{name}", value)
    defaults = {"connect_s": 0.3, "read_s": 0.4, "total_s": 0.8, "ca_file": None}
    monkeypatch.setattr(RequestsTransport.__init__, "__kwdefaults__", defaults)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("row", READ)
def test_order_that_was_read_is_never_sent_again(row: str, tmp_path: Path) -> None:
    behaviour, expected = READ[row]
    with (
        Loopback(answer(ACCEPTED), script=[behaviour]) as server,
        client_of(server, tmp_path) as client,
    ):
        with pytest.raises(KisError) as caught:
            client.send_order(BUY)
        until(lambda: bool(server.bodies(ORDER)))
        assert (type(caught.value), len(server.bodies(ORDER))) == (expected, 1)


@pytest.mark.parametrize("row", READ)
@pytest.mark.usefixtures("quick")
def test_cancel_that_was_read_is_never_sent_again(row: str, tmp_path: Path) -> None:
    behaviour, expected = READ[row]
    with (
        Loopback(answer(ACCEPTED), script=[behaviour]) as server,
        client_of(server, tmp_path) as client,
    ):
        with pytest.raises(expected):
            client.cancel_order(_ref())
        # A server slower than the client's patience reads it a little later.
        until(lambda: len(server.requests) > 1)
        assert len(server.requests) == 2  # the token and one body


def _ref() -> OrderRef:
    return OrderRef(branch="00950", number="0000038614", kind=OrderKind.LIMIT)


def test_row_13_lower_case_keys_are_read(tmp_path: Path) -> None:
    lower = {name.lower(): value for name, value in ACCEPTED["output"].items()}
    with (
        Loopback(answer(ACCEPTED | {"output": lower})) as server,
        client_of(server, tmp_path) as client,
    ):
        assert client.send_order(BUY).number == "0000038614"


# Rows 1-4, 8: nothing was read.


def _refused_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def _send(url: str, **options: object) -> KisError:
    transport = RequestsTransport(
        emulator_server(Environment.MOCK, url, "ws://127.0.0.1:9"), **options
    )
    with pytest.raises(KisError) as caught:
        transport.send(
            HttpRequest(method="POST", path=ORDER, headers={}, body={}, fresh=True)
        )
    transport.close()
    return caught.value


def test_row_01_refused_connection_proves_not_sent() -> None:
    assert type(_send(_refused_port())) is NotSent


def test_row_02_unknown_name_proves_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    assert type(_send("http://127.0.0.1:9")) is NotSent


def test_row_03_connect_timeout_proves_not_sent() -> None:
    # A full backlog swallows further connections without a word.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        full = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            full.append(sock)
        error = _send(url, connect_s=0.3)
        for sock in full:
            sock.close()
    assert type(error) is NotSent


def test_row_04_untrusted_certificate_gets_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_require_loopback", lambda *_: None)
    with Loopback(answer(ACCEPTED), certificate=self_signed(tmp_path)) as server:
        error = _send(server.url)
        assert (type(error), len(server.requests)) == (NotSent, 0)


def test_row_04_trusted_certificate_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_require_loopback", lambda *_: None)
    certificate, key = self_signed(tmp_path)
    with Loopback(answer(ACCEPTED), certificate=(certificate, key)) as server:
        transport = RequestsTransport(
            emulator_server(Environment.MOCK, server.url, "ws://127.0.0.1:9"),
            ca_file=str(certificate),
        )
        request = HttpRequest(method="POST", path=ORDER, headers={}, body={})
        assert transport.send(request).status == 200
        transport.close()


def test_row_19_tls_drip_ends_with_the_total_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_require_loopback", lambda *_: None)
    certificate, key = self_signed(tmp_path)
    with Loopback(drip, certificate=(certificate, key)) as server:
        began = SystemClock().monotonic()
        error = _send(server.url, ca_file=str(certificate), total_s=0.5)
        took = SystemClock().monotonic() - began
    assert (type(error), took < 2.0) == (OutcomeUnknown, True)


def test_row_08_reset_before_reading_is_unknown(tmp_path: Path) -> None:
    with Loopback(reset_unread=True) as server:
        assert type(_send(server.url)) is OutcomeUnknown


def test_row_15_redirect_target_hears_nothing(tmp_path: Path) -> None:
    with Loopback() as evil:
        moved = text(b"", status=308, headers=f"Location: {evil.url}/x\r\n")
        with (
            Loopback(script=[moved]) as server,
            client_of(server, tmp_path) as client,
            pytest.raises(ForeignReply),
        ):
            client.send_order(BUY)
        assert evil.accepted == 0


def test_redirected_query_is_not_asked_again(tmp_path: Path) -> None:
    moved = text(b"", status=302, headers="Location: http://127.0.0.1:9/\r\n")
    with Loopback(moved) as server, client_of(server, tmp_path) as client:
        with pytest.raises(ForeignReply):
            client.fetch_price("005930")
        assert len(server.requests) == 2


def test_orders_use_a_connection_of_their_own(tmp_path: Path) -> None:
    with (
        Loopback(answer(ACCEPTED)) as server,
        client_of(server, tmp_path) as client,
    ):
        client.send_order(BUY)
        client.send_order(BUY)
        assert server.accepted == 3  # the token, and one for each order


# Queries.


@pytest.mark.parametrize(
    "behaviour",
    [
        close,
        reset,
        truncate,
        refusal("EGW00201"),
        refusal("EGW00001"),
        refusal("EGW00002"),
        text(b"<html/>", status=503),
    ],
)
def test_query_is_asked_again(behaviour: Behaviour, tmp_path: Path) -> None:
    with (
        Loopback(reply(market.PRICE, price()), script=[behaviour]) as server,
        client_of(server, tmp_path) as client,
    ):
        assert client.fetch_price("005930").price == 71_500


@pytest.mark.parametrize(
    ("told", "offset_s"),
    [
        ("Date: Fri, 20 Nov 2026 01:00:07 GMT\r\n", 7.0),
        ("Date: Fri, 20 Nov 2026 01:00:07 -0000\r\n", None),
        ("Date: yesterday\r\n", None),
        ("Date: Mon, 1 Jan 2024 99999999999999999999:0:0 GMT\r\n", None),
        ("", None),
    ],
)
def test_clock_is_compared_with_the_brokers(
    told: str, offset_s: float | None, tmp_path: Path
) -> None:
    clock = ManualClock(datetime(2026, 11, 20, 1, tzinfo=UTC))
    found = answer({"rt_cd": "0", "output": {}}, headers=told)
    with Loopback(found) as server, client_of(server, tmp_path, clock=clock) as client:
        with suppress(KisError):  # no price in it; its head was heard
            client.fetch_price("005930")
        assert client.clock_offset_s() == offset_s


def test_query_gives_up_after_four_attempts(tmp_path: Path) -> None:
    with Loopback(close) as server, client_of(server, tmp_path) as client:
        with pytest.raises(OutcomeUnknown):
            client.fetch_price("005930")
        assert len(server.requests) == 1 + 4


def test_refused_query_is_not_asked_again(tmp_path: Path) -> None:
    with (
        Loopback(refusal("OPSQ2000", status=200)) as server,
        client_of(server, tmp_path) as client,
    ):
        with pytest.raises(KisRefused):
            client.fetch_price("005930")
        assert len(server.requests) == 2


def test_row_23_throttled_balance_is_an_error_not_empty(tmp_path: Path) -> None:
    with (
        Loopback(refusal("EGW00215")) as server,
        client_of(server, tmp_path) as client,
        pytest.raises(RateLimited),
    ):
        client.fetch_balance()


def test_row_26_query_renews_the_token_once(tmp_path: Path) -> None:
    fresh = answer(TOKEN_ANSWER | {"access_token": "eyJOTHER"})
    with (
        Loopback(
            reply(market.PRICE, price()), script=[refusal("EGW00123"), fresh]
        ) as server,
        client_of(server, tmp_path) as client,
    ):
        client.fetch_price("005930")
        last = server.requests[-1].headers["authorization"]
        assert (last, len(server.requests)) == ("Bearer eyJOTHER", 4)


def test_token_refused_twice_is_an_error(tmp_path: Path) -> None:
    fresh = answer(TOKEN_ANSWER | {"access_token": "eyJOTHER"})
    with (
        Loopback(refusal("EGW00121"), script=[refusal("EGW00121"), fresh]) as server,
        client_of(server, tmp_path) as client,
    ):
        with pytest.raises(AuthError):
            client.fetch_price("005930")
        assert len(server.bodies("tokenP")) == 2


def test_next_order_after_a_refused_token_has_another(tmp_path: Path) -> None:
    fresh = answer(TOKEN_ANSWER | {"access_token": "eyJOTHER"})
    with (
        Loopback(answer(ACCEPTED), script=[refusal("EGW00123"), fresh]) as server,
        client_of(server, tmp_path) as client,
    ):
        with pytest.raises(AuthError):
            client.send_order(BUY)
        client.send_order(BUY)
        assert server.requests[-1].headers["authorization"] == "Bearer eyJOTHER"


def test_row_29_no_token_means_the_order_was_not_sent(tmp_path: Path) -> None:
    with (
        Loopback(text(b"", status=503)) as server,
        client_of(server, tmp_path, token_first=False) as client,
    ):
        with pytest.raises(NotSent):
            client.send_order(BUY)
        assert not server.bodies(ORDER)


def test_row_33_failing_second_page_makes_the_whole_query_fail(tmp_path: Path) -> None:
    first = page([order_row(1)], key="2")
    with (
        Loopback(text(b"", status=500), script=[first]) as server,
        client_of(server, tmp_path) as client,
        pytest.raises(OutcomeUnknown),
    ):
        client.fetch_orders(_today(client), _today(client))


def _today(client: KisClient) -> date:
    return client._clock.now().date()


def test_row_34_changed_data_starts_from_the_first_page(tmp_path: Path) -> None:
    changed = refusal("APBK1111", "조회 이후 자료가 변경되었습니다. 재조회 하십시오")
    script = [
        page([order_row(1)], key="2"),
        changed,
        page([order_row(1)], key="2"),
        page([order_row(2)]),
    ]
    with Loopback(script=script) as server, client_of(server, tmp_path) as client:
        rows = client.fetch_orders(_today(client), _today(client)).rows
        assert [row.number for row in rows] == ["0000000001", "0000000002"]


def test_row_35_twenty_seven_pages_are_all_read(tmp_path: Path) -> None:
    pages = [
        page(
            [order_row(15 * at + k) for k in range(15)],
            key="" if at == 26 else str(at + 1),
        )
        for at in range(27)
    ]
    with Loopback(script=pages) as server, client_of(server, tmp_path) as client:
        assert len(client.fetch_orders(_today(client), _today(client)).rows) == 405


def test_row_36_repeated_row_counts_once(tmp_path: Path) -> None:
    script = [page([order_row(1), order_row(2)], key="2"), page([order_row(2)])]
    with Loopback(script=script) as server, client_of(server, tmp_path) as client:
        assert len(client.fetch_orders(_today(client), _today(client)).rows) == 2


def test_row_36_contradicting_rows_are_an_error(tmp_path: Path) -> None:
    script = [page([order_row(1), order_row(1, filled_quantity=5)])]
    with (
        Loopback(script=script) as server,
        client_of(server, tmp_path) as client,
        pytest.raises(WireError),
    ):
        client.fetch_orders(_today(client), _today(client))


FUNDS = Funds(
    deposit=1_000_000,
    deposit_d1=1_000_000,
    deposit_d2=1_000_000,
    securities_value=0,
    total_value=1_000_000,
    net_assets=1_000_000,
    cost=0,
    profit=0,
)


def _position(quantity: int) -> Position:
    return Position(
        symbol="005930",
        name="삼성전자",
        quantity=quantity,
        sellable=quantity,
        average_price=70_000.0,
        cost=70_000 * quantity,
        price=71_500,
        value=71_500 * quantity,
        profit=1_500 * quantity,
        profit_pct=2.14,
    )


def test_row_37_holding_returned_twice_is_not_doubled(tmp_path: Path) -> None:
    twice = Balance(positions=(_position(21), _position(21)), funds=FUNDS)
    with (
        Loopback(reply(trading.BALANCE, twice)) as server,
        client_of(server, tmp_path) as client,
    ):
        assert [row.quantity for row in client.fetch_balance().positions] == [21]


@pytest.mark.parametrize("rows", [{}, "", None, [[]], ["x"], [{"pdno": {}}]])
def test_row_38_balance_of_another_shape_is_an_error(
    rows: object, tmp_path: Path
) -> None:
    whole = encode_reply(
        trading.BALANCE,
        Balance(positions=(), funds=FUNDS),
        environment=Environment.MOCK,
        tr_id="",
    ).body
    with (
        Loopback(answer({**whole, "output1": rows})) as server,
        client_of(server, tmp_path) as client,
        pytest.raises(WireError),
    ):
        client.fetch_balance()


def test_row_42_new_field_is_ignored_and_counted(tmp_path: Path) -> None:
    whole = encode_reply(
        market.PRICE, price(), environment=Environment.MOCK, tr_id=""
    ).body
    more = {**whole, "output": {**whole["output"], "brand_new": "1"}}
    with Loopback(answer(more)) as server, client_of(server, tmp_path) as client:
        client.fetch_price("005930")
        assert client.unknown_fields == {"inquire_price.brand_new": 1}


def test_row_43_same_page_for_ever_is_an_error(tmp_path: Path) -> None:
    with (
        Loopback(page([order_row(1)], key="2")) as server,
        client_of(server, tmp_path) as client,
    ):
        with pytest.raises(WireError):
            client.fetch_orders(_today(client), _today(client))
        assert len(server.requests) <= 4


def test_row_43_pages_without_end_stop_at_two_hundred(tmp_path: Path) -> None:
    numbers = iter(range(1, 10_000))

    def another(connection: object) -> None:
        number = next(numbers)
        page([order_row(number)], key=str(number))(connection)

    with Loopback(another) as server, client_of(server, tmp_path) as client:
        with pytest.raises(WireError):
            client.fetch_orders(_today(client), _today(client))
        assert len(server.requests) == 1 + 200


def test_slow_reply_does_not_hold_other_calls(tmp_path: Path) -> None:
    with (
        Loopback(reply(market.PRICE, price()), script=[]) as server,
        client_of(server, tmp_path) as client,
    ):
        server.script.append(drip)
        slow = threading.Thread(target=_ignore(client.fetch_price), daemon=True)
        slow.start()
        while len(server.requests) < 2:
            threading.Event().wait(0.01)
        assert client.fetch_price("000660").price == 71_500


def _ignore(work: Callable[[str], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            work("005930")
        except KisError:
            return

    return run


def test_emulator_in_the_place_of_kis_is_refused() -> None:
    stranger = HttpReply(200, {"x-kisbt-emulator": "1"}, b"{}")
    with pytest.raises(ForeignReply):
        require_from(stranger, kis_server(Environment.REAL), tr_id="")


def test_query_is_repeated_after_a_moment(tmp_path: Path) -> None:
    clock = QuickClock()
    with (
        Loopback(reply(market.PRICE, price()), script=[close]) as server,
        client_of(server, tmp_path, clock=clock) as client,
    ):
        client.fetch_price("005930")
        assert 0 < sum(clock.slept) < 2


def test_failures_leave_no_exception_of_the_library(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = _send(_refused_port())
    assert (error.__cause__, error.__context__) == (None, None)

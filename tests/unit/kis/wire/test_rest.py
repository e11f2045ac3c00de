import json
from typing import Any

import pytest

from kisbt.errors import (
    AuthError,
    KisRefused,
    OutcomeUnknown,
    RateLimited,
    WireError,
)
from kisbt.kis.wire import market, trading
from kisbt.kis.wire.codes import data_changed
from kisbt.kis.wire.requests import (
    ChangeOrder,
    MultiPriceQuery,
    OrdersQuery,
    PlaceOrder,
    SellableQuery,
    SymbolQuery,
)
from kisbt.kis.wire.rest import (
    Reply,
    RestCall,
    decode_reply,
    decode_request,
    encode_refusal,
    encode_reply,
    encode_request,
    raise_refusal,
    request_texts,
)
from kisbt.model.account import Environment
from kisbt.model.order import OrderKind, Side, Venue
from kisbt.model.quote import Board
from tests.helpers.wire import ACCOUNT, REQUESTS, full_body

_REAL, _MOCK = Environment.REAL, Environment.MOCK


def _decode(
    call: RestCall[Any, Any], body: Any, *, status: int = 200, **headers: str
) -> Reply[Any]:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return decode_reply(
        call, status=status, headers=headers, body=text, environment=_REAL, tr_id="T"
    )


def _refusal(code: str, result: str = "1") -> dict[str, str]:
    return {"rt_cd": result, "msg_cd": code, "msg1": " why  "}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("EGW00201", RateLimited),
        ("EGW00215", RateLimited),
        ("EGW00123", AuthError),
        ("APBK0952", KisRefused),
        ("40570000", KisRefused),
        ("EGW00301", OutcomeUnknown),
        ("EGW00002", OutcomeUnknown),
        ("ZZZZ9999", OutcomeUnknown),
        ("APBK0013", OutcomeUnknown),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_refused_order_raises_what_may_be_done_next(
    code: str, kind: type[Exception], status: int
) -> None:
    with pytest.raises(kind) as raised:
        _decode(trading.ORDER, _refusal(code, "7"), status=status)

    assert type(raised.value) is kind
    assert code in str(raised.value)


@pytest.mark.parametrize("code", ["EGW00301", "EGW00002", "ZZZZ9999"])
def test_refused_query_is_refused_whatever_the_code(code: str) -> None:
    with pytest.raises(KisRefused) as raised:
        _decode(market.PRICE, _refusal(code), status=500)

    assert (raised.value.code, raised.value.reply) == (code, "why")
    assert (raised.value.http_status, raised.value.tr_id) == (500, "T")
    assert raised.value.environment == "real"


def test_rate_limit_says_how_long_to_wait() -> None:
    with pytest.raises(RateLimited) as raised:
        _decode(market.PRICE, _refusal("EGW00215"), status=500)

    assert raised.value.retry_after_s == 1.0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("<html>", 200),
        ("", 502),
        (b"\xff\xfe\x00", 200),
        ("[]", 200),
        ("null", 200),
        ("{}", 200),
        ('{"msg_cd": "X"}', 503),
        ("[" * 100_000, 200),
        ('{"rt_cd": "0", "output": {"ODNO": "1"}}', 302),
        ('{"rt_cd": "0"', 200),
    ],
)
@pytest.mark.parametrize("call", [trading.ORDER, market.PRICE])
def test_what_is_no_answer_of_kis_leaves_it_open(
    call: RestCall[Any, Any], body: Any, status: int
) -> None:
    with pytest.raises(OutcomeUnknown):
        _decode(call, body, status=status)


@pytest.mark.parametrize("missing", ["ODNO", "KRX_FWDG_ORD_ORGNO", "ORD_TMD"])
def test_accepted_order_without_its_number_is_left_open(missing: str) -> None:
    body = full_body(trading.ORDER)
    body["output"][missing] = " "

    with pytest.raises(OutcomeUnknown):
        _decode(trading.ORDER, body)


def test_accepted_order_reads_in_small_letters() -> None:
    body = full_body(trading.ORDER)
    body["output"] = {name.lower(): text for name, text in body["output"].items()}

    assert _decode(trading.ORDER, body).value.number == "02"


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("sll_buy_dvsn_cd", "03"),
        ("ord_dvsn_cd", "99"),
        ("excg_id_dvsn_Cd", "XXX"),
        ("tot_ccld_qty", ""),
        ("ord_qty", "ten"),
        ("odno", ""),
        ("ord_dt", "99999999"),
        ("cncl_yn", "?"),
    ],
)
def test_order_row_that_cannot_be_trusted_is_refused_whole(
    field: str, text: str
) -> None:
    body = full_body(trading.HISTORY)
    body["output1"][1][field] = text

    with pytest.raises(WireError) as raised:
        _decode(trading.HISTORY, body)

    assert field in str(raised.value)


def test_missing_field_of_an_order_row_is_refused() -> None:
    body = full_body(trading.HISTORY)
    del body["output1"][0]["tot_ccld_qty"]

    with pytest.raises(WireError):
        _decode(trading.HISTORY, body)


def test_blank_venue_and_time_of_an_order_row_are_unknown() -> None:
    body = full_body(trading.HISTORY)
    body["output1"][0] |= {"excg_id_dvsn_Cd": "", "ord_tmd": ""}

    row = _decode(trading.HISTORY, body).value.rows[0]

    assert row.venue is None
    assert row.time is None


@pytest.mark.parametrize(
    ("one", "other", "quantity"),
    [("6", "", 6), ("", "6", 6), ("0", "6", 6), ("6", "0", 6), ("0", "0", 0)],
)
def test_cancelled_quantity_is_read_in_both_spellings(
    one: str, other: str, quantity: int
) -> None:
    body = full_body(trading.HISTORY)
    body["output1"][0] |= {"cnc_cfrm_qty": one, "cncl_cfrm_qty": other}

    reply = _decode(trading.HISTORY, body)

    assert reply.value.rows[0].cancelled_quantity == quantity
    assert reply.unknown == ()


def test_unknown_fields_are_named_and_ignored() -> None:
    body = full_body(market.PRICE)
    body["output"] |= {"NEW_FIELD": "1", "another": "2"}

    assert _decode(market.PRICE, body).unknown == ("another", "new_field")


@pytest.mark.parametrize(
    ("block", "content"),
    [
        ("output1", {}),
        ("output1", None),
        ("output1", ["x"]),
        ("output2", []),
        ("output2", [{}, {}]),
        ("output2", ""),
    ],
)
def test_empty_balance_in_the_wrong_shape_is_no_empty_balance(
    block: str, content: Any
) -> None:
    body = full_body(trading.BALANCE)
    body[block] = content

    with pytest.raises(WireError):
        _decode(trading.BALANCE, body)


def test_money_of_a_balance_may_stand_alone_instead_of_in_a_list() -> None:
    body = full_body(trading.BALANCE)
    body["output2"] = body["output2"][0]

    assert _decode(trading.BALANCE, body).value.funds.deposit == 71_500


def test_block_is_read_under_the_name_of_the_portal_too() -> None:
    body = full_body(trading.SELLABLE)
    body["output1"] = [body.pop("output")]

    assert _decode(trading.SELLABLE, body).value.sellable == 1234


def test_empty_rows_of_a_chart_are_skipped() -> None:
    body = full_body(market.DAILY_CHART)
    body["output2"] += [{}, {"stck_bsop_date": " "}]

    assert len(_decode(market.DAILY_CHART, body).value.rows) == 2


def test_numbers_that_are_no_text_read_too() -> None:
    body = full_body(market.PRICE)
    body["output"]["stck_prpr"] = 71_500

    assert _decode(market.PRICE, body).value.price == 71_500


@pytest.mark.parametrize(
    ("text", "sign", "change"),
    [
        ("500", "2", 500),
        ("500", "5", -500),
        ("-500", "5", -500),
        ("500", "4", -500),
        ("0", "3", 0),
        ("-500", "", -500),
    ],
)
def test_change_takes_its_sign_from_the_code(text: str, sign: str, change: int) -> None:
    body = full_body(market.PRICE)
    body["output"] |= {"prdy_vrss": text, "prdy_vrss_sign": sign}

    assert _decode(market.PRICE, body).value.change == change


@pytest.mark.parametrize("change", [-500, 0, 500])
def test_change_writes_its_sign(change: int) -> None:
    body = full_body(market.PRICE)
    body["output"] |= {"prdy_vrss": str(change), "prdy_vrss_sign": ""}
    value = _decode(market.PRICE, body).value

    written = encode_reply(market.PRICE, value, environment=_REAL, tr_id="T").body

    sign = {-500: "5", 0: "3", 500: "2"}[change]
    assert written["output"]["prdy_vrss"] == str(change)
    assert written["output"]["prdy_vrss_sign"] == sign


def test_one_sided_book_keeps_its_levels() -> None:
    body = full_body(market.QUOTE)
    for n in range(1, 11):
        body["output1"][f"askp{n}"] = "0"
    for n in range(4, 11):
        body["output1"][f"bidp{n}"] = "0"
    quote = _decode(market.QUOTE, body).value

    written = encode_reply(market.QUOTE, quote, environment=_REAL, tr_id="T").body

    assert (len(quote.asks), len(quote.bids)) == (0, 3)
    assert _decode(market.QUOTE, dict(written)).value == quote


@pytest.mark.parametrize("mark", ["", "D", "E", "F ", "M"])
def test_headers_say_whether_more_follows(mark: str) -> None:
    reply = _decode(trading.HISTORY, full_body(trading.HISTORY), TR_CONT=mark)

    assert reply.more is (mark.strip() in {"F", "M"})


def test_next_page_is_asked_for_as_it_was_named() -> None:
    body = full_body(trading.BALANCE) | {
        "CTX_AREA_FK100": "12345678^01^ ",
        "ctx_area_nk100": "next",
    }
    position = _decode(trading.BALANCE, body).position

    request = next(value for name, value in REQUESTS if name == "inquire_balance")
    sent = encode_request(
        trading.BALANCE, request, environment=_MOCK, position=position
    )

    assert sent.query["CTX_AREA_FK100"] == "12345678^01^ "
    assert sent.query["CTX_AREA_NK100"] == "next"
    assert sent.headers["tr_cont"] == "N"
    assert sent.tr_id == "VTTC8434R"


def test_first_page_is_asked_for_with_blanks() -> None:
    request = next(value for name, value in REQUESTS if name == "inquire_balance")

    sent = encode_request(trading.BALANCE, request, environment=_REAL)

    assert sent.headers["tr_cont"] == ""
    assert sent.query["CTX_AREA_FK100"] == sent.query["CTX_AREA_NK100"] == ""
    assert sent.body is None


def test_call_mock_lacks_is_refused_before_it_is_sent() -> None:
    request = SellableQuery(account=ACCOUNT, symbol="005930")

    with pytest.raises(KisRefused) as raised:
        encode_request(trading.SELLABLE, request, environment=_MOCK)

    assert raised.value.code == "OPSQ0002"


def test_order_is_sent_with_every_key_as_text() -> None:
    order = PlaceOrder(
        account=ACCOUNT,
        side=Side.SELL,
        symbol="005930",
        kind=OrderKind.MARKET,
        quantity=3,
    )

    sent = encode_request(trading.ORDER, order, environment=_MOCK)

    assert sent.tr_id == "VTTC0011U"
    assert sent.query == {}
    assert sent.body == {
        "CANO": "12345678",
        "ACNT_PRDT_CD": "01",
        "PDNO": "005930",
        "SLL_TYPE": "",
        "ORD_DVSN": "01",
        "ORD_QTY": "3",
        "ORD_UNPR": "0",
        "CNDT_PRIC": "",
        "EXCG_ID_DVSN_CD": "KRX",
    }


def test_request_of_an_old_client_is_read() -> None:
    texts = {
        "cano": "12345678",
        "acnt_prdt_cd": "01",
        "pdno": "005930",
        "ord_dvsn": "00",
        "ord_qty": "10",
        "ord_unpr": "71500",
    }

    order = decode_request(trading.ORDER, texts, variant="buy")

    assert order.venue is Venue.KRX
    assert (order.side, order.quantity, order.price) == (Side.BUY, 10, 71_500)


def test_cancellation_with_a_blank_branch_is_read() -> None:
    request = next(
        value
        for _name, value in REQUESTS
        if isinstance(value, ChangeOrder) and value.whole
    )
    texts = request_texts(trading.CHANGE, request)
    del texts["KRX_FWDG_ORD_ORGNO"]

    assert decode_request(trading.CHANGE, texts) == request


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ORD_QTY", "1.5"),
        ("ORD_QTY", ""),
        ("ORD_QTY", "-1"),
        ("ORD_UNPR", "70000.0"),
        ("ORD_DVSN", "99"),
        ("EXCG_ID_DVSN_CD", "NYSE"),
        ("PDNO", ""),
        ("CANO", None),
    ],
)
def test_order_that_makes_no_sense_is_refused(key: str, text: object) -> None:
    order = next(value for name, value in REQUESTS if name == "order_cash")
    texts: dict[str, Any] = dict(request_texts(trading.ORDER, order))

    with pytest.raises(WireError) as raised:
        decode_request(trading.ORDER, {**texts, key: text}, variant="buy")

    assert key in str(raised.value)


def test_query_without_a_demanded_key_is_refused_unless_told_otherwise() -> None:
    texts = {"FID_INPUT_ISCD": "005930"}

    with pytest.raises(WireError, match="FID_COND_MRKT_DIV_CODE"):
        decode_request(market.PRICE, texts)
    assert decode_request(market.PRICE, texts, strict=False) == SymbolQuery(
        symbol="005930", board=Board.KRX
    )


def test_history_of_another_client_without_dates_is_read() -> None:
    texts = request_texts(
        trading.HISTORY, OrdersQuery(account=ACCOUNT, first=None, last=None)
    )

    found = decode_request(
        trading.HISTORY, texts | {"INQR_STRT_DT": "00000101"}, variant="recent"
    )

    assert (found.first, found.last) == (None, None)


def test_prices_of_no_symbol_are_refused() -> None:
    with pytest.raises(WireError, match="FID_INPUT_ISCD_1"):
        decode_request(market.MULTI_PRICE, {})
    assert decode_request(
        market.MULTI_PRICE, {"FID_INPUT_ISCD_2": "005930"}
    ) == MultiPriceQuery(symbols=("005930",))


def test_adjusted_means_the_opposite_in_the_two_calls() -> None:
    requests = dict(REQUESTS)
    chart = next(v for n, v in REQUESTS if n == "inquire_daily_itemchartprice")
    daily = next(v for n, v in REQUESTS if n == "inquire_daily_price")

    assert chart.adjusted
    assert daily.adjusted
    assert request_texts(market.DAILY_CHART, chart)["FID_ORG_ADJ_PRC"] == "0"
    assert request_texts(market.DAILY_PRICES, daily)["FID_ORG_ADJ_PRC"] == "1"
    assert requests["inquire_daily_price"].adjusted is False


def test_long_symbol_of_master_data_is_cut_to_its_code() -> None:
    body = full_body(market.SYMBOL_INFO)
    body["output"]["pdno"] = "00000A005930"

    assert _decode(market.SYMBOL_INFO, body).value.symbol == "005930"


@pytest.mark.parametrize(
    ("call", "environment", "code"),
    [
        (market.PRICE, _REAL, "MCA00000"),
        (market.PRICE, _MOCK, "MCA00000"),
        (trading.BALANCE, _REAL, "KIOK0510"),
        (trading.BALANCE, _MOCK, "20310000"),
        (trading.ORDER, _REAL, "APBK0013"),
    ],
)
def test_usual_message_is_that_of_the_call_and_the_server(
    call: RestCall[Any, Any], environment: Environment, code: str
) -> None:
    value = _decode(call, full_body(call)).value

    body = encode_reply(call, value, environment=environment, tr_id="T").body

    assert body["msg_cd"] == code


def test_message_given_is_the_one_sent() -> None:
    value = _decode(trading.ORDER, full_body(trading.ORDER)).value

    reply = encode_reply(
        trading.ORDER, value, environment=_MOCK, tr_id="T", message=("4", "done")
    )

    assert (reply.body["msg_cd"], reply.body["msg1"]) == ("4", "done")
    assert reply.headers["tr_id"] == "T"


def test_refusal_is_read_as_it_was_written() -> None:
    reply = encode_refusal("EGW00201", "too fast", status=500)

    with pytest.raises(RateLimited) as raised:
        _decode(market.PRICE, dict(reply.body), status=reply.status)

    assert raised.value.code == "EGW00201"


def test_answer_that_is_no_refusal_raises_nothing() -> None:
    raise_refusal({"access_token": "x"}, status=200, is_order=True)
    raise_refusal({"rt_cd": "0"}, status=200, is_order=True)


def test_changed_data_is_told_by_its_words() -> None:
    assert data_changed("조회 이후에 자료가 변경되었습니다.(다시 조회하십시오)")
    assert not data_changed("조회가 완료되었습니다")


@pytest.mark.parametrize("kind", list(OrderKind))
def test_every_order_kind_has_a_code_of_its_own(kind: OrderKind) -> None:
    assert trading.KIND.parse(trading.KIND.format(kind)) is kind


def test_venues_take_the_kinds_kis_lists() -> None:
    takes = trading.takes_kind

    assert takes(OrderKind.AFTER_LIMIT, Venue.KRX, _REAL)
    assert takes(OrderKind.PRE_MARKET_LIMIT, Venue.NXT, _REAL)
    assert not takes(OrderKind.MARKET, Venue.NXT, _REAL)
    assert not takes(OrderKind.MID_PRICE, Venue.SOR, _REAL)
    assert takes(OrderKind.LIMIT, Venue.KRX, _MOCK)
    assert not takes(OrderKind.LIMIT, Venue.NXT, _MOCK)
    assert not takes(OrderKind.LIMIT_IOC, Venue.KRX, _MOCK)


def test_names_of_kinds_and_sides_are_those_of_kis() -> None:
    assert trading.kind_name(OrderKind.LIMIT) == "지정가"
    assert trading.kind_name(OrderKind.BLOCK) == ""
    assert trading.side_name(Side.SELL) == "현금매도"

"""Every sample answer and frame reads as what it is."""

import json
from datetime import date, time
from typing import Any

import pytest

from kisbt.errors import (
    AuthError,
    KisbtError,
    KisRefused,
    OutcomeUnknown,
    RateLimited,
    WireError,
)
from kisbt.kis.wire import auth, market, trading
from kisbt.kis.wire.codes import RETRY
from kisbt.kis.wire.crypto import NoticeCipher
from kisbt.kis.wire.rest import RestCall, decode_reply, parse_body, raise_refusal
from kisbt.kis.wire.stream import (
    Confirmation,
    Distrust,
    Notices,
    Ping,
    Quotes,
    Registration,
    StreamDecoder,
    Ticks,
    decode_registration,
    encode_registration,
)
from kisbt.model.account import Environment
from kisbt.model.order import NoticeAction, NoticeKind, OrderKind, Side, Venue
from kisbt.model.quote import Level, MarketClass
from tests.helpers.wire import Sample, frames, read_sample, sample_names

_ANSWERS: dict[str, RestCall[Any, Any]] = {
    "chk_holiday": market.HOLIDAYS,
    "inquire_asking_price_exp_ccn": market.QUOTE,
    "inquire_balance": trading.BALANCE,
    "inquire_ccnl": market.TRADES,
    "inquire_daily_ccld_mock_empty_quirk": trading.HISTORY,
    "inquire_daily_ccld_real": trading.HISTORY,
    "inquire_daily_itemchartprice": market.DAILY_CHART,
    "inquire_price": market.PRICE,
    "inquire_psbl_order": trading.BUYING_POWER,
    "inquire_psbl_rvsecncl": trading.OPEN_ORDERS,
    "inquire_time_itemchartprice": market.MINUTES,
    "order_amend_mock_ok": trading.CHANGE,
    "order_cancel_mock_ok": trading.CHANGE,
    "order_cash_mock_buy_ok": trading.ORDER,
    "order_cash_mock_sell_ok": trading.ORDER,
    "order_cash_real_ok": trading.ORDER,
}
_TOKENS = {
    "hashkey_ok",
    "oauth_approval_ok",
    "oauth_revokeP_ok",
    "oauth_tokenP_ok",
    "oauth_tokenP_once_per_minute",
}


def _decode(name: str) -> Any:
    return _reply(_ANSWERS[name], read_sample(name)).value


def _reply(call: RestCall[Any, Any], sample: Sample) -> Any:
    return decode_reply(
        call,
        status=sample.status,
        headers=sample.headers,
        body=sample.text,
        environment=Environment.MOCK,
    )


def test_every_sample_is_looked_at() -> None:
    refused = {name for name in sample_names() if "reject" in name or "error" in name}

    assert set(sample_names()) == set(_ANSWERS) | _TOKENS | refused


@pytest.mark.parametrize("name", sorted(_ANSWERS))
def test_sample_reads_without_a_field_that_is_in_no_table(name: str) -> None:
    assert _reply(_ANSWERS[name], read_sample(name)).unknown == ()


@pytest.mark.parametrize(
    "name", [n for n in sample_names() if "reject" in n or n.startswith("error")]
)
def test_refused_sample_raises_its_code(name: str) -> None:
    sample = read_sample(name)

    with pytest.raises(KisRefused) as raised:
        _reply(trading.ORDER, sample)

    assert raised.value.code == sample.body["msg_cd"]
    assert raised.value.reply == sample.body["msg1"]
    assert raised.value.code in RETRY


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("error_rate_limit", RateLimited),
        ("error_token_expired", AuthError),
        ("error_token_invalid", AuthError),
    ],
)
def test_gateway_sample_raises_its_own_class(name: str, kind: type[KisbtError]) -> None:
    with pytest.raises(kind):
        _reply(market.PRICE, read_sample(name))


def test_token_sample_reads() -> None:
    answer = auth.parse_token(read_sample("oauth_tokenP_ok").body)

    assert answer.token.startswith("eyJ")
    assert answer.seconds == 86_400
    assert answer.expires is not None
    assert answer.expires.isoformat() == "2026-07-07T08:59:59+09:00"
    assert "eyJ" not in repr(answer)


def test_second_token_in_a_minute_raises_its_code() -> None:
    sample = read_sample("oauth_tokenP_once_per_minute")
    content = parse_body(sample.text, status=sample.status)

    with pytest.raises(KisRefused) as raised:
        raise_refusal(content, status=sample.status, is_order=False)

    assert raised.value.code == "EGW00133"


def test_approval_and_hash_samples_read() -> None:
    key = auth.parse_approval(read_sample("oauth_approval_ok").body)

    assert key == "11111111-2222-3333-4444-555555555555"
    assert auth.parse_hash(read_sample("hashkey_ok").body) == "0" * 64


def test_revocation_sample_is_no_refusal() -> None:
    content = parse_body(read_sample("oauth_revokeP_ok").text, status=200)

    raise_refusal(content, status=200, is_order=False)

    assert content == auth.revoke_answer()


def test_order_sample_carries_branch_number_and_time() -> None:
    ticket = _decode("order_cash_real_ok")

    assert (ticket.branch, ticket.number) == ("06010", "0000123456")
    assert ticket.time == time(10, 5, 12)


def test_history_sample_tells_a_cancellation_from_a_partly_filled_order() -> None:
    cancelled, partly, filled = _decode("inquire_daily_ccld_real").rows

    assert cancelled.original_number == partly.number == "0000123460"
    assert (cancelled.cancelled, cancelled.cancelled_quantity) == (True, 6)
    assert (partly.filled_quantity, partly.remaining_quantity) == (4, 6)
    assert filled.filled_amount == filled.quantity * filled.price == 715_000
    assert filled.side is Side.BUY
    assert filled.kind is OrderKind.LIMIT
    assert filled.venue is Venue.KRX
    assert filled.channel == "OpnAPI"
    assert filled.day == date(2026, 7, 6)


def test_empty_history_of_mock_still_has_its_sums() -> None:
    history = _decode("inquire_daily_ccld_mock_empty_quirk")

    assert history.rows == ()
    assert (history.totals.filled_quantity, history.totals.costs) == (10, 107)


def test_balance_sample_keeps_the_position_sold_out_today() -> None:
    balance = _decode("inquire_balance")

    held, sold = balance.positions
    assert (held.quantity, held.sellable, held.average_price) == (10, 10, 71_500.0)
    assert (sold.quantity, sold.sold_today) == (0, 5)
    assert balance.funds.deposit == 10_000_000
    assert balance.funds.deposit_d2 == 9_284_893
    assert balance.funds.change == -107


def test_buying_power_sample_counts_at_the_upper_limit() -> None:
    power = _decode("inquire_psbl_order")

    assert (power.quantity, power.reference_price) == (100, 92_300)


def test_open_order_sample_tells_what_is_left() -> None:
    (order,) = _decode("inquire_psbl_rvsecncl")

    assert (order.quantity, order.filled_quantity, order.open_quantity) == (10, 4, 6)


def test_price_sample_carries_limits_and_tick_size() -> None:
    price = _decode("inquire_price")

    assert (price.lower_limit, price.price, price.upper_limit) == (
        49_700,
        71_500,
        92_300,
    )
    assert (price.change, price.change_pct, price.tick_size) == (500, 0.7, 100)


def test_order_book_sample_is_best_first() -> None:
    quote = _decode("inquire_asking_price_exp_ccn")

    assert quote.asks[0] == Level(71_600, 1137)
    assert quote.bids[0] == Level(71_500, 1137)
    assert len(quote.asks) == len(quote.bids) == 10
    assert quote.symbol == "005930"


def test_chart_samples_are_newest_first() -> None:
    days = [row.day for row in _decode("inquire_daily_itemchartprice").rows]
    minutes = [row.start for row in _decode("inquire_time_itemchartprice").rows]

    assert days == sorted(days, reverse=True)
    assert minutes == [time(10, 5), time(10, 4), time(10, 3)]


def test_trade_and_holiday_samples_read() -> None:
    assert [trade.quantity for trade in _decode("inquire_ccnl")] == [1532, 1532]
    assert [day.open for day in _decode("chk_holiday")] == [True, True, False]


def test_frame_of_one_trade_reads() -> None:
    frame = StreamDecoder().decode(frames()["data_H0STCNT0_one"])

    assert isinstance(frame, Ticks)
    (tick,) = frame.rows
    assert (tick.symbol, tick.price, tick.quantity) == ("005930", 71_500, 12)
    assert tick.at.isoformat() == "2026-07-06T10:05:12+09:00"
    assert tick.taker is Side.BUY


def test_frame_of_two_trades_reads_both() -> None:
    frame = StreamDecoder().decode(frames()["data_H0STCNT0_two_records"])

    assert isinstance(frame, Ticks)
    assert [(tick.price, tick.quantity) for tick in frame.rows] == [
        (71_500, 12),
        (71_600, 3),
    ]


@pytest.mark.parametrize("columns", [46, 47])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_frame_reads_the_same_the_second_time(columns: int, count: int) -> None:
    one = frames()["data_H0STCNT0_one"].split("|")[3] + ("^2" if columns == 47 else "")
    records = [one.replace(one.split("^")[0], f"00{n}930", 1) for n in range(count)]
    frame = f"0|H0STCNT0|{count:03}|" + "^".join(records)
    decoder = StreamDecoder()
    first = decoder.decode(frame)
    assert isinstance(first, Ticks)
    assert [row.symbol for row in first.rows] == [f"00{n}930" for n in range(count)]
    kinds = {row.market_class is MarketClass.UNKNOWN for row in first.rows}
    assert kinds == {columns == 46}
    # What was read before is looked up.
    assert decoder.decode(frame) == first


def test_known_frame_of_another_width_is_noticed() -> None:
    one = frames()["data_H0STCNT0_one"].split("|")[3]
    frame = f"0|H0STCNT0|002|{one}^{one}"
    decoder = StreamDecoder()
    decoder.decode(frame)
    with pytest.raises(WireError):
        decoder.decode(f"{frame}^2")
    assert isinstance(decoder.decode(f"{frame}^2^2^2^2"), Distrust)


def test_order_book_frame_reads() -> None:
    frame = StreamDecoder().decode(frames()["data_H0STASP0"])

    assert isinstance(frame, Quotes)
    (quote,) = frame.rows
    assert quote.asks[9] == Level(72_500, 2370)
    assert quote.bids[0] == Level(71_500, 1137)
    assert (quote.volume, quote.in_auction) == (12_345_678, False)


def _decoder_with_key() -> StreamDecoder:
    content = json.loads(json.dumps(frames()["server_subscribe_ok"]))
    content["header"] |= {"tr_id": "H0STCNI9", "tr_key": "myhtsid", "encrypt": "Y"}
    decoder = StreamDecoder()
    decoder.decode(json.dumps(content))
    return decoder


def test_notice_of_an_accepted_order_is_no_fill() -> None:
    frame = _decoder_with_key().decode(frames()["notice_accept_frame"])

    assert isinstance(frame, Notices)
    (notice,) = frame.rows
    assert notice.kind is NoticeKind.ACCEPTED
    assert notice.action is NoticeAction.NEW
    assert (notice.order_quantity, notice.order_price, notice.price) == (10, 71_500, 0)


def test_notice_of_a_fill_carries_its_own_quantity_and_price() -> None:
    frame = _decoder_with_key().decode(frames()["notice_fill_frame"])

    assert isinstance(frame, Notices)
    (notice,) = frame.rows
    assert notice.kind is NoticeKind.FILLED
    assert (notice.quantity, notice.price, notice.order_quantity) == (4, 71_500, 10)
    assert (notice.number, notice.account) == ("0000038614", "1234567801")
    assert notice.venue is Venue.KRX


def test_notice_frames_are_encrypted_as_the_plain_texts_beside_them() -> None:
    found = frames()
    cipher = NoticeCipher(found["key"], found["iv"])

    for name in ("accept", "fill"):
        payload = found[f"notice_{name}_frame"].split("|", 3)[3]
        assert cipher.decrypt(payload) == found[f"notice_{name}_plain"]
        assert cipher.encrypt(found[f"notice_{name}_plain"]) == payload


@pytest.mark.parametrize(
    ("name", "accepted", "code"),
    [
        ("server_subscribe_ok", True, "OPSP0000"),
        ("server_unsubscribe_ok", True, "OPSP0001"),
        ("server_already", True, "OPSP0002"),
        ("server_max_over", False, "OPSP0008"),
        ("server_in_use", False, "OPSP8996"),
        ("server_bad_approval", False, "OPSP0011"),
        ("server_bad_htsid", False, "OPSP0017"),
    ],
)
def test_confirmation_sample_reads(name: str, accepted: bool, code: str) -> None:
    answer = StreamDecoder().decode(json.dumps(frames()[name], ensure_ascii=False))

    assert isinstance(answer, Confirmation)
    assert (answer.accepted, answer.code) == (accepted, code)
    assert answer.tr_id != "(null)"


def test_sign_of_life_is_kept_as_it_came() -> None:
    text = json.dumps(frames()["server_pingpong"])

    assert StreamDecoder().decode(text) == Ping(text)


def test_subscription_is_written_as_the_sample() -> None:
    wanted = frames()["client_subscribe"]
    request = Registration(
        wanted["header"]["approval_key"], "H0STCNT0", "005930", register=True
    )

    assert json.loads(encode_registration(request)) == wanted
    assert decode_registration(encode_registration(request)) == request


def test_reply_of_a_proxy_leaves_an_order_open() -> None:
    page = Sample("html", 200, {}, {})

    with pytest.raises(OutcomeUnknown):
        decode_reply(
            trading.ORDER,
            status=page.status,
            headers={},
            body="<html>maintenance</html>",
            environment=Environment.REAL,
        )

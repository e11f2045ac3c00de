"""Clients of the broker that others wrote trade against the emulator, unchanged.

Only their base addresses are set. They are installed with ``kisbt[peers]`` and run
by ``make test-peers``; without them these tests are skipped.
"""

import asyncio
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
from kisbt.krx.calendar import KST

mojito = pytest.importorskip("mojito", reason="needs kisbt[peers]")
pykis = pytest.importorskip("pykis", reason="needs kisbt[peers]")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SAMPLE = Path(__file__).parents[2] / "data"
SYMBOL = "990001"
MID_SESSION = datetime(2025, 12, 29, 10, 0, tzinfo=KST)
_WAIT_S = 10.0


@pytest.fixture(params=["mock", "real"])
def environment(request: pytest.FixtureRequest) -> str:
    """Return the server a client talks to."""
    return str(request.param)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Return both servers in the middle of a session; time moves when told."""
    settings = Settings(
        data=SAMPLE,
        start=MID_SESSION,
        environment="both",
        step=True,
        limits=False,
    )
    with Emulator(settings) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working folder: mojito keeps its token in one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _mojito(emulator: Emulator, environment: str) -> Any:
    server = emulator.side(environment)

    class Client(mojito.KoreaInvestment):  # type: ignore[misc,name-defined]
        def set_base_url(self, mock: bool = True) -> None:
            self.base_url = server["rest_url"]

    return Client(
        api_key=server["app_key"],
        api_secret=server["app_secret"],
        acc_no=server["account"],
        mock=environment == "mock",
    )


def test_mojito_reads_prices_and_charts(
    emulator: Emulator, environment: str, folder: Path
) -> None:
    client = _mojito(emulator, environment)
    price = client.fetch_price(SYMBOL)
    days = client.fetch_ohlcv(SYMBOL, "D", "20251101", "20251229")
    weeks = client.fetch_ohlcv_recent30(SYMBOL, "W")
    minutes = client._fetch_today_1m_ohlcv(SYMBOL, "100000")
    truth = emulator.state()["book"][SYMBOL]
    assert int(price["output"]["stck_prpr"]) == truth["last"]
    assert days["output2"][0]["stck_bsop_date"] == "20251229"
    assert int(days["output2"][0]["acml_vol"]) == truth["volume"]
    assert len(weeks["output"]) == 30
    assert minutes["output2"][0]["stck_cntg_hour"] == "095900"
    assert len(minutes["output2"]) == 30


def test_mojito_pages_todays_minutes_to_the_opening(
    emulator: Emulator, environment: str, folder: Path
) -> None:
    client = _mojito(emulator, environment)
    rows = client.fetch_today_1m_ohlcv(SYMBOL, to="100000")["output2"]
    hours = [row["stck_cntg_hour"] for row in rows if row["cntg_vol"] != "0"]
    assert hours[-1] == "090000"
    assert len(set(hours)) == len(hours) == 60


def test_mojito_buys_amends_sells_and_cancels(
    emulator: Emulator, environment: str, folder: Path
) -> None:
    client = _mojito(emulator, environment)
    assert client.create_market_buy_order(SYMBOL, 10)["rt_cd"] == "0"
    held = client.fetch_balance()
    assert [(row["pdno"], row["hldg_qty"]) for row in held["output1"]] == [
        (SYMBOL, "10")
    ]
    last = int(emulator.state()["book"][SYMBOL]["last"])
    low, lower = last - 2_000, last - 3_000
    placed = client.create_limit_buy_order(SYMBOL, low, 5)["output"]
    amended = client.modify_order(
        placed["KRX_FWDG_ORD_ORGNO"], placed["ODNO"], "00", lower, 5, True
    )
    assert amended["rt_cd"] == "0"
    assert amended["output"]["ODNO"] != placed["ODNO"]
    cancelled = client.cancel_order(
        placed["KRX_FWDG_ORD_ORGNO"], amended["output"]["ODNO"], 5, True
    )
    assert cancelled["rt_cd"] == "0"
    assert client.create_market_sell_order(SYMBOL, 4)["rt_cd"] == "0"
    truth = emulator.state()[environment]
    assert truth["account"]["holdings"][SYMBOL]["quantity"] == 6
    assert [order["state"] for order in truth["orders"]] == [
        "filled",
        "amended",
        "cancelled",
        "cancelled",
        "filled",
    ]


def test_mojito_checks_what_it_can_buy(
    emulator: Emulator, environment: str, folder: Path
) -> None:
    client = _mojito(emulator, environment)
    answer = client.check_buy_order(SYMBOL, 0, "01")["output"]
    upper = int(client.fetch_price(SYMBOL)["output"]["stck_mxpr"])
    assert int(answer["psbl_qty_calc_unpr"]) == upper
    assert int(answer["nrcvb_buy_qty"]) == 10_000_000 // upper


def test_mojito_hears_its_fills_over_the_websocket(
    emulator: Emulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This client knows the notices of real accounts only.
    server = emulator.side("real")
    client = _mojito(emulator, "real")
    module = mojito.koreainvestment
    connect = module.websockets.connect
    monkeypatch.setattr(
        module.websockets,
        "connect",
        lambda _uri, **rest: connect(server["ws_url"], **rest),
    )
    stream = mojito.KoreaInvestmentWS(
        server["app_key"],
        server["app_secret"],
        ["H0STCNT0", "H0STASP0"],
        [SYMBOL],
        user_id=server["hts_id"],
    )
    stream.base_url = server["rest_url"]
    closed = module.websockets.ConnectionClosed

    def listen() -> None:
        try:
            asyncio.run(stream.ws_client())
        except closed:
            return

    thread = threading.Thread(target=listen, name="mojito")
    thread.start()
    try:
        _wait_for_registrations(emulator, 3)
        client.create_market_buy_order(SYMBOL, 3)
        emulator.advance(60)
        heard = _until_fill_and_market_data(stream)
    finally:
        emulator.stop()
        thread.join(_WAIT_S)
    fill = heard["fill"]
    assert (fill["주식단축종목코드"], int(fill["체결수량"])) == (SYMBOL, 3)
    assert heard["체결"]["유가증권단축종목코드"] == SYMBOL
    assert int(heard["호가"]["매도호가01"]) > int(heard["호가"]["매수호가01"])


def _wait_for_registrations(emulator: Emulator, count: int) -> None:
    waiting = threading.Event()
    for _turn in range(int(_WAIT_S / 0.02)):
        if emulator.state()["real"]["stream"]["registrations"] == count:
            return
        waiting.wait(0.02)
    raise AssertionError("the client did not subscribe")


def _until_fill_and_market_data(stream: Any) -> dict[str, Any]:
    heard: dict[str, Any] = {}
    for _turn in range(500):
        try:
            kind, content = stream.queue.get(timeout=_WAIT_S)
        except Empty:
            break
        if kind == "체잔" and content["체결여부"] == "2":
            heard["fill"] = content
        elif kind != "체잔":
            heard[kind] = content
        if {"fill", "체결", "호가"} <= heard.keys():
            return heard
    raise AssertionError(f"heard only {sorted(heard)}")


def _pykis(emulator: Emulator) -> Any:
    server = emulator.side("real")
    number, product = server["account"].split("-")
    return pykis.Api(
        key_info={"appkey": server["app_key"], "appsecret": server["app_secret"]},
        domain_info=pykis.DomainInfo(url=server["rest_url"]),
        account_info={"account_code": number, "product_code": product},
    )


def test_pykis_reads_prices_and_money(emulator: Emulator) -> None:
    client = _pykis(emulator)
    truth = emulator.state()["book"][SYMBOL]
    assert client.get_kr_current_price(SYMBOL) == truth["last"]
    lower, upper = client.get_kr_min_price(SYMBOL), client.get_kr_max_price(SYMBOL)
    assert lower < truth["last"] < upper
    assert len(client.get_kr_ohlcv(SYMBOL, "D")) == 30
    assert client.get_kr_buyable_cash() == 10_000_000
    assert client.get_kr_deposit() == 10_000_000


def test_pykis_trades_and_cancels_everything(emulator: Emulator) -> None:
    client = _pykis(emulator)
    last = client.get_kr_current_price(SYMBOL)
    client.buy_kr_stock(SYMBOL, 10, 0)
    first = client.buy_kr_stock(SYMBOL, 2, last - 2_000)
    client.revise_kr_order(first["ODNO"], last - 3_000)
    client.sell_kr_stock(SYMBOL, 4, 0)
    waiting = client.get_kr_orders()
    assert list(waiting["정정취소가능수량"]) == ["2"]
    client.cancel_all_kr_orders()
    balance = client.get_kr_stock_balance()
    truth = emulator.state()["real"]
    assert int(balance.loc[SYMBOL, "보유수량"]) == 6
    assert truth["account"]["holdings"][SYMBOL]["quantity"] == 6
    assert all(order["open"] == 0 for order in truth["orders"])


def test_pykis_pages_a_long_list_of_orders(emulator: Emulator) -> None:
    client = _pykis(emulator)
    last = client.get_kr_current_price(SYMBOL)
    for _turn in range(60):  # fifty fit on a page
        client.buy_kr_stock(SYMBOL, 1, last - 2_000)
    assert len(client.get_kr_orders()) == 60

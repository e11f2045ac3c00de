"""The practice server's habits: no rows, late balances, lost and doubled notices."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kisbt.model.account import Environment
from kisbt.model.order import Side
from kisbt.orders.ledger import FillSource
from kisbt.orders.records import Corrected, Ended, Filled
from tests.helpers.desk import OTHER, SYMBOL, Bench, bench
from tests.helpers.orders import make_notice

pytestmark = pytest.mark.fault


@pytest.fixture(params=[FillSource.NOTICE, FillSource.REST])
def mock(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state", stream=True, fill_source=request.param) as made:
        made.emulator.fault("quirk(daily_ccld_empty, on=true)")
        yield made


def far(live: Bench, symbol: str = SYMBOL) -> int:
    return int(live.price(symbol) * 0.8) // 500 * 500


def test_fill_without_a_row_is_booked_from_two_witnesses(mock: Bench) -> None:
    order = mock.order(Side.BUY, 6)
    mock.run_for(15)
    assert mock.desk.status().query_broken
    assert mock.status(order.ref) == "filled"
    assert mock.wrong(ended=True) == []


@pytest.fixture
def rest_mock(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state", stream=True, fill_source=FillSource.REST) as made:
        made.emulator.fault("quirk(daily_ccld_empty, on=true)", "lag(balance, 5)")
        yield made


def test_fill_that_the_balance_shows_is_no_alarm(rest_mock: Bench) -> None:
    order = rest_mock.order(Side.BUY, 6)
    rest_mock.run_for(60)
    assert rest_mock.status(order.ref) == "filled"
    assert "fill not confirmed" not in rest_mock.told.titles()


def test_each_fill_of_a_long_order_is_awaited_until_it_is_booked(
    rest_mock: Bench,
) -> None:
    mock = rest_mock
    order = mock.order(Side.BUY, 6, limit=far(mock))
    (ticket,) = mock.journal.tickets(order.ref)
    exchange = mock.emulator._house.sides[Environment.MOCK].exchange
    for second in range(150):
        if second % 25 == 0:
            (working,) = exchange.working()
            exchange.fill(working, 1, working.price)
        mock.run_for(1)
        told = mock.journal.notices(ticket.day, ticket.number)
        heard = sum(item.quantity for item in told)
        booked = mock.journal.order(order.ref).filled
        assert heard == booked or mock.desk.awaits_fills()
    assert mock.status(order.ref) == "filled"
    assert "fill not confirmed" not in mock.told.titles()
    assert mock.wrong(ended=True) == []


def test_forged_fill_told_again_and_again_is_an_alarm_all_the_same(mock: Bench) -> None:
    order = mock.order(Side.BUY, 6, limit=far(mock))
    (ticket,) = mock.journal.tickets(order.ref)
    mock.run_for(5)
    forged = make_notice(
        account=mock.settings.account,
        number=ticket.number,
        branch=ticket.branch,
        symbol=order.symbol,
        quantity=1,
        price=far(mock),
        order_quantity=6,
        time=mock.time.now().time(),
    )
    for _turn in range(12):
        mock.desk.stream_event(forged)
        mock.run_for(5)
    assert "fill not confirmed" in mock.told.titles()
    assert not mock.desk.awaits_fills()


def test_cancellation_without_a_row_is_told_by_its_notice(mock: Bench) -> None:
    mock.order(Side.BUY, 1, symbol=OTHER)
    order = mock.order(Side.BUY, 6, limit=far(mock))
    mock.run_for(15)
    mock.desk.cancel(order.ref)
    mock.run_for(30)
    assert mock.status(order.ref) == "cancelled"
    assert [e.outcome for e in mock.events if isinstance(e, Ended)] == ["cancelled"]
    assert mock.wrong(ended=True) == []


def test_lost_order_without_rows_is_found_by_its_notice(mock: Bench) -> None:
    mock.order(Side.BUY, 1, symbol=OTHER)
    mock.run_for(10)
    mock.emulator.fault("accept_then(read_then_close)")
    order = mock.order(Side.BUY, 6)
    mock.run_for(30)
    assert (mock.status(order.ref), mock.posts()) == ("filled", 2)
    assert mock.wrong(ended=True) == []


def test_throttled_order_without_rows_is_sent_once_more(mock: Bench) -> None:
    mock.order(Side.BUY, 1, symbol=OTHER)
    mock.run_for(10)
    mock.emulator.fault("gw(EGW00201, 500, tr=order)")
    order = mock.order(Side.BUY, 6)
    mock.run_for(30)
    assert mock.status(order.ref) == "filled"
    assert mock.wrong(ended=True) == []


def test_day_without_rows_is_closed(mock: Bench) -> None:
    mock.order(Side.BUY, 4)
    left = mock.order(Side.BUY, 6, limit=far(mock))
    mock.run_for(15)
    mock.close_day()
    assert mock.status(left.ref) == "expired"
    assert mock.wrong(ended=True) == []


def test_late_balance_is_no_reason_for_anything(mock: Bench) -> None:
    mock.emulator.fault("lag(balance, 20)")
    mock.order(Side.BUY, 4)
    mock.run_for(15)
    mock.order(Side.SELL, 2)
    mock.run_for(60)
    assert mock.journal.frozen() == {}
    assert mock.wrong(ended=True) == []


FRAMES = {
    "45 lost": "ws(mute, tr=notice, count=99)",
    "46 tripled": "ws(dup, 3, tr=notice, count=99)",
    "48 reordered": "ws(reorder, tr=notice, count=99)",
    "51 wider": "ws(notice_width, 1, tr=notice, count=99)",
    "53 wrong key": "ws(bad_key, tr=notice)",
    "54 corrupt": "ws(corrupt, tr=notice, count=99)",
}


@pytest.mark.parametrize("row", FRAMES)
@pytest.mark.parametrize("environment", ["mock", "real"])
def test_rows_44_to_54_broken_notices_lose_and_double_nothing(
    row: str, environment: str, tmp_path: Path
) -> None:
    with bench(tmp_path / "state", environment=environment, stream=True) as live:
        live.emulator.fault(FRAMES[row], "ex(partial, 2, 2, 1, count=2)")
        live.order(Side.BUY, 9)
        live.order(Side.BUY, 5, symbol=OTHER, limit=far(live, OTHER))
        live.run_for(30)
        live.emulator.clear_faults()
        live.run_for(10)
        filled = sum(e.quantity for e in live.events if isinstance(e, Filled))
        assert filled == sum(item.quantity for item in live.journal.positions())
        assert live.wrong() == []


def test_row_49_fill_before_the_answer_is_parked_then_booked(tmp_path: Path) -> None:
    with bench(tmp_path / "state", stream=True) as live:
        live.emulator.fault("accept_then(delay, 0.2)")
        ref = live.submit(Side.BUY, 5)
        live.desk.work(calls=1)
        live.hear()
        live.run_for(5)
        assert live.status(ref) == "filled"
        assert not [e for e in live.events if isinstance(e, Corrected)]
        assert live.wrong(ended=True) == []

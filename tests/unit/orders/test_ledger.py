from dataclasses import replace
from datetime import time

import pytest

from kisbt.bt.comminfo import KrxCommInfo
from kisbt.krx.fees import parse_commission
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.model.order import OrderTotals, Side
from kisbt.orders.ledger import (
    Claim,
    FillSource,
    Tariff,
    book_witnessed,
    decide,
    notice_digest,
    noticed,
    quantities,
    rows_agree,
    witnessed,
    witnessed_amount,
)
from kisbt.orders.rows import Booking, NoticeRecord, TicketRecord, TicketRole
from tests.helpers.orders import (
    DAY,
    NINE,
    free,
    make_notice,
    make_noticed,
    make_row,
    make_ticket,
)

ONE = make_noticed(quantity=4, price=1000, time=time(9, 0, 1))
TWO = make_noticed(quantity=3, price=1010, time=time(9, 0, 2))


def booked(
    ticket: TicketRecord,
    *notices: NoticeRecord,
    source: FillSource = FillSource.NOTICE,
) -> list[tuple[int, int, int, str]]:
    found = decide(ticket, notices, source=source, costs=free, at=NINE)
    return [(b.quantity, b.amount, b.cumulative, b.confirmed_by) for b in found]


# Booking.


def test_nothing_new_books_nothing() -> None:
    assert booked(make_ticket()) == []
    done = make_ticket(applied=4, applied_amount=4_000)
    assert booked(done, ONE) == []
    assert booked(replace(done, confirmed=4, confirmed_amount=4_000), ONE) == []


def test_a_notice_is_booked_at_its_own_price() -> None:
    assert booked(make_ticket(), ONE) == [(4, 4_000, 4, "notice")]
    some = make_ticket(applied=4, applied_amount=4_000)
    assert booked(some, ONE, TWO) == [(3, 3_030, 7, "notice")]


def test_with_rest_a_notice_books_nothing() -> None:
    assert booked(make_ticket(), ONE, source=FillSource.REST) == []
    seen = make_ticket(confirmed=4, confirmed_amount=4_000)
    assert booked(seen, source=FillSource.REST) == [(4, 4_000, 4, "rest")]


def test_a_query_books_what_notices_lost() -> None:
    ticket = make_ticket(
        applied=4, applied_amount=4_000, confirmed=10, confirmed_amount=10_090
    )
    assert booked(ticket, ONE) == [(6, 6_090, 10, "rest")]


def test_of_both_sources_the_higher_level_is_booked_at_once() -> None:
    behind = make_ticket(confirmed=4, confirmed_amount=4_000)
    assert booked(behind, ONE, TWO) == [(7, 7_030, 7, "notice")]
    level = make_ticket(confirmed=7, confirmed_amount=7_035)
    assert booked(level, ONE, TWO) == [(7, 7_035, 7, "rest")]


def test_a_lagging_query_takes_nothing_back() -> None:
    ticket = make_ticket(
        applied=7, applied_amount=7_030, confirmed=4, confirmed_amount=4_000
    )
    assert booked(ticket, ONE, TWO) == []


def test_notices_never_book_more_than_was_ordered() -> None:
    ticket = make_ticket(quantity=5)
    assert noticed(ticket, (ONE, TWO)) == 5
    assert [b[0] for b in booked(ticket, ONE, TWO)] == [5]


def test_a_wrong_price_is_put_right_without_shares() -> None:
    ticket = make_ticket(
        applied=4, applied_amount=4_000, confirmed=4, confirmed_amount=4_020
    )
    assert booked(ticket, ONE) == [(0, 20, 4, "rest")]
    cheaper = replace(ticket, confirmed_amount=3_990)
    assert booked(cheaper, ONE) == [(0, -10, 4, "rest")]


def test_an_overpaid_booking_never_makes_a_free_fill() -> None:
    ticket = make_ticket(
        applied=4, applied_amount=9_000, confirmed=8, confirmed_amount=8_000
    )
    fill, correction = booked(ticket)
    assert fill == (4, 4_000, 8, "rest")
    assert correction == (0, -5_000, 8, "rest")


def test_costs_follow_a_correction() -> None:
    def tenth(amount: int) -> tuple[int, int]:
        return amount // 10, amount // 100

    ticket = make_ticket(
        applied=4, applied_amount=4_000, confirmed=4, confirmed_amount=4_105
    )
    (found,) = decide(ticket, (), source=FillSource.REST, costs=tenth, at=NINE)
    assert (found.amount, found.commission, found.tax) == (105, 10, 1)


def test_a_query_without_an_amount_corrects_nothing() -> None:
    ticket = make_ticket(applied=4, applied_amount=4_000, confirmed=4)
    assert booked(ticket) == []


# Costs: the same won as in a backtest.


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("product", [Product.STOCK, Product.ETF])
@pytest.mark.parametrize("market", [Market.KOSPI, Market.KOSDAQ])
@pytest.mark.parametrize("amount", [999, 71_500, 1_234_567, 98_765_430])
def test_costs_are_those_of_a_backtest(
    side: Side, product: Product, market: Market, amount: int
) -> None:
    instrument = Instrument(symbol="990001", market=market, product=product)
    info = KrxCommInfo(instrument=instrument, rate=parse_commission("bankis", product))
    info.session = DAY
    expected = info.commission(amount), info.tax(amount) if side is Side.SELL else 0
    assert Tariff().costs(instrument, side, amount, DAY) == expected
    assert Tariff().of(instrument, side, DAY)(amount) == expected


def test_settings_replace_the_tariff() -> None:
    instrument = Instrument(symbol="990001")
    plain = Tariff(commission=0.001, tax="none")
    assert plain.costs(instrument, Side.SELL, 1_000_000, DAY) == (1_000, 0)
    taxed = Tariff(commission=0.0, tax="0.002")
    assert taxed.costs(instrument, Side.SELL, 1_000_000, DAY) == (0, 2_000)
    assert taxed.costs(instrument, Side.BUY, 1_000_000, DAY) == (0, 0)


# Notices.


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 5},
        {"price": 1001},
        {"time": time(9, 0, 6)},
        {"number": "0000000013"},
        {"branch": "00951"},
        {"side": Side.SELL},
    ],
)
def test_a_different_notice_has_a_different_digest(change: dict[str, object]) -> None:
    assert notice_digest(make_notice(**change)) != notice_digest(make_notice())


def test_a_digest_tells_nothing_of_the_account() -> None:
    other = make_notice(account="9999999901", customer="c", holder="h")
    assert notice_digest(other) == notice_digest(make_notice())


# The two witnesses.


def totals(quantity: int, filled: int, amount: int) -> OrderTotals:
    return OrderTotals(
        quantity=quantity,
        filled_quantity=filled,
        filled_amount=amount,
        costs=0,
        average_price=0.0,
    )


def test_an_empty_answer_under_totals_says_nothing() -> None:
    row = make_row(filled_quantity=4, filled_amount=4_000)
    assert rows_agree((), totals(0, 0, 0))
    assert not rows_agree((), totals(10, 0, 0))
    assert not rows_agree((), totals(10, 4, 4_000))
    assert rows_agree((row,), totals(10, 4, 4_000))
    assert not rows_agree((row,), totals(10, 5, 5_000))


def claim(ticket: int, side: Side, noticed: int, applied: int, most: int) -> Claim:
    return Claim(ticket=ticket, side=side, noticed=noticed, applied=applied, most=most)


BUY = claim(1, Side.BUY, 4, 0, 10)
SELL = claim(2, Side.SELL, 3, 0, 5)


@pytest.mark.parametrize(
    ("claims", "moved", "levels"),
    [
        ((BUY,), 4, {1: 4}),  # both agree
        ((BUY,), 0, {}),  # the balance lags
        ((BUY,), 2, {1: 2}),  # it has followed in part
        ((BUY,), 10, {1: 10}),  # notices were lost; one order alone can explain it
        ((BUY,), 11, {}),  # more than it can be
        ((BUY,), -1, {}),
        ((BUY, SELL), 1, {1: 4, 2: 3}),
        ((BUY, SELL), 5, {}),  # the sale may hide a larger purchase
        ((BUY, claim(3, Side.BUY, 0, 0, 10)), 4, {1: 4}),
        ((BUY, claim(3, Side.BUY, 0, 0, 10)), 6, {}),
        ((BUY, claim(2, Side.SELL, 0, 5, 5)), 5, {}),  # a full sale not shown yet
        ((BUY, claim(2, Side.BUY, 0, 5, 5)), 10, {1: 10}),
        ((), 5, {}),
    ],
)
def test_only_what_has_one_explanation_is_proved(
    claims: tuple[Claim, ...], moved: int, levels: dict[int, int]
) -> None:
    assert witnessed(claims, moved) == levels


def amount(
    ticket: TicketRecord,
    *notices: NoticeRecord,
    level: int,
    told: OrderTotals | None = None,
    booked: tuple[int, int] = (0, 0),
    limit: int | None = None,
) -> int:
    return witnessed_amount(
        ticket,
        notices,
        level,
        totals=told,
        booked={"quantity": booked[0], "amount": booked[1]},
        limit_price=limit,
        last_price=990.0,
    )


def test_a_proved_level_has_the_best_known_price() -> None:
    ticket = make_ticket()
    assert amount(ticket, ONE, TWO, level=7) == 7_030
    day = totals(20, 17, 17_500)
    assert amount(ticket, level=7, told=day, booked=(10, 10_000)) == 7_500
    assert amount(ticket, level=7, told=day, booked=(9, 9_000), limit=1000) == 7_000
    assert amount(ticket, level=7) == 6_930


def test_a_proved_level_is_booked_as_such() -> None:
    assert book_witnessed(make_ticket(), 7, 7_030, costs=free, at=NINE) == Booking(
        ticket=1,
        quantity=7,
        amount=7_030,
        commission=0,
        tax=0,
        cumulative=7,
        at=NINE,
        confirmed_by="balance",
    )


# Where the shares are.


def child(role: TicketRole, **changes: object) -> TicketRecord:
    return make_ticket(ticket=2, number="0000000013", role=role, parent="12", **changes)


@pytest.mark.parametrize(
    ("tickets", "parts"),
    [
        ((make_ticket(confirmed=4),), (4, 0, 0, 6)),
        # A cancellation told on its own row, on the order's, on both.
        (
            (make_ticket(applied=4), child(TicketRole.CANCEL, cancelled=6)),
            (4, 6, 0, 0),
        ),
        ((make_ticket(applied=4, cancelled=6),), (4, 6, 0, 0)),
        (
            (
                make_ticket(applied=4, cancelled=6),
                child(TicketRole.CANCEL, cancelled=6),
            ),
            (4, 6, 0, 0),
        ),
        # An amendment takes shares along; the row it amends may call them cancelled.
        ((make_ticket(applied=4), child(TicketRole.AMEND, quantity=6)), (4, 0, 0, 6)),
        (
            (
                make_ticket(applied=4, cancelled=6),
                child(TicketRole.AMEND, quantity=6, applied=6),
            ),
            (10, 0, 0, 0),
        ),
        # An amendment the exchange refused takes nothing along.
        (
            (make_ticket(), child(TicketRole.AMEND, quantity=10, rejected=10)),
            (0, 0, 0, 10),
        ),
        ((make_ticket(rejected=10),), (0, 0, 10, 0)),
        # A cancellation of the amendment.
        (
            (
                make_ticket(cancelled=10),
                child(TicketRole.AMEND, quantity=10, applied=3),
                make_ticket(
                    ticket=3,
                    number="14",
                    role=TicketRole.CANCEL,
                    parent="13",
                    cancelled=7,
                ),
            ),
            (3, 7, 0, 0),
        ),
    ],
)
def test_every_share_is_counted_once(
    tickets: tuple[TicketRecord, ...], parts: tuple[int, int, int, int]
) -> None:
    found = quantities(10, tickets)
    assert (found.filled, found.cancelled, found.rejected, found.open) == parts

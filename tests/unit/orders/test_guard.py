"""What may leave at this moment, and that there is no other way out."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import kisbt
from kisbt.clock import KST
from kisbt.errors import (
    AuthError,
    ConfigError,
    ForeignReply,
    KisRefused,
    MarketRuleError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RiskRefused,
    WireError,
)
from kisbt.krx.limits import PriceBand
from kisbt.krx.phases import Phase
from kisbt.model.instrument import Instrument
from kisbt.model.order import OrderKind, OrderType, Side
from kisbt.model.ports import NewOrder, OrderRef
from kisbt.orders.guard import (
    MOST_SHARES,
    ChangePermit,
    GuardLimits,
    LiveFacts,
    LiveGuard,
    MarketNow,
    Permit,
    Proposal,
    SentOrder,
)
from kisbt.orders.sender import Answer, OrderSender

NOW = datetime(2025, 11, 3, 10, 0, tzinfo=KST)
SYMBOL = "005930"
ALL = GuardLimits(
    order_cap=1_000_000,
    collar_pct=3.0,
    price_age_s=10.0,
    canary_shares=1,
    canary_won=50_000,
)


def order(side: Side = Side.BUY, quantity: int = 10, price: int = 50_000) -> NewOrder:
    return NewOrder(
        symbol=SYMBOL, side=side, quantity=quantity, kind=OrderKind.LIMIT, price=price
    )


def proposal(new: NewOrder | None = None, **changes: object) -> Proposal:
    new = new or order()
    values: dict[str, object] = {
        "ref": 1,
        "order": new,
        "instrument": Instrument(symbol=SYMBOL),
        "order_type": OrderType.LIMIT if new.price else OrderType.MARKET,
        "value": float(new.quantity * (new.price or 50_000)),
    }
    return Proposal(**(values | changes))


def facts(**changes: object) -> LiveFacts:
    values: dict[str, object] = {
        "now": NOW,
        "now_s": 1000.0,
        "phase": Phase.CONTINUOUS,
        "sellable": 100,
        "market": MarketNow(price=50_000.0, age_s=1.0),
        "priced": True,
        "offset_s": 0.0,
    }
    return LiveFacts(**(values | changes))


def rule_of(found: Proposal, moment: LiveFacts, limits: GuardLimits = ALL) -> str:
    """Return the rule that refuses, "" if it is let through."""
    try:
        LiveGuard(limits).permit(found, moment)
    except RiskRefused as error:
        return error.rule
    return ""


SAME = SentOrder(
    ref=2, symbol=SYMBOL, side=Side.BUY, quantity=10, price=50_000, at_s=997.0
)

REFUSED: dict[str, tuple[Proposal, LiveFacts]] = {
    "halt": (proposal(), facts(halted="by hand")),
    "frozen": (proposal(), facts(frozen={SYMBOL: "split"})),
    "unresolved": (proposal(), facts(unresolved=[SYMBOL])),
    "phase": (proposal(), facts(phase=Phase.CLOSED)),
    "quantity": (proposal(order(quantity=0)), facts()),
    "price": (proposal(order(price=-5)), facts()),
    "tick": (proposal(order(price=50_010)), facts()),
    "price_limit": (
        proposal(band=PriceBand(lower=60_000, upper=80_000)),
        facts(),
    ),
    "duplicate": (proposal(), facts(sent=[SAME])),
    "entries_off": (proposal(), facts(reduce_only="not armed")),
    "paused": (proposal(), facts(paused={SYMBOL: "external"})),
    "stream": (proposal(), facts(stream_up=False)),
    "clock": (proposal(), facts(offset_s=5.0)),
    "intent_age": (proposal(age_s=3.5), facts()),
    "price_age": (proposal(), facts(market=None)),
    "collar": (proposal(), facts(market=MarketNow(price=48_000.0, age_s=1.0))),
    "order_cap": (proposal(value=1_000_001.0), facts()),
    "canary": (proposal(), facts(canary_done=False)),
    "holding": (proposal(order(Side.SELL, 101)), facts()),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_each_rule_refuses_its_case(rule: str) -> None:
    assert rule_of(*REFUSED[rule]) == rule


@pytest.mark.parametrize("rule", REFUSED)
def test_without_its_fact_the_same_order_passes(rule: str) -> None:
    found, _moment = REFUSED[rule]
    harmless = proposal(order(found.order.side, 10, 50_000))
    assert rule_of(harmless, facts()) == ""


# An exit reduces risk: what only concerns entries never stops it.
ENTRY_RULES = (
    "entries_off",
    "paused",
    "stream",
    "clock",
    "intent_age",
    "price_age",
    "collar",
    "order_cap",
    "canary",
)


@pytest.mark.parametrize("rule", ENTRY_RULES)
def test_rule_for_entries_lets_an_exit_pass(rule: str) -> None:
    found, moment = REFUSED[rule]
    exit_ = replace(found, order=order(Side.SELL))
    assert rule_of(exit_, moment) == ""


@pytest.mark.parametrize("rule", ["halt", "frozen", "unresolved", "phase"])
def test_rule_for_everything_stops_an_exit(rule: str) -> None:
    found, moment = REFUSED[rule]
    assert rule_of(replace(found, order=order(Side.SELL)), moment) == rule


def test_third_unresolved_order_of_the_account_stops_entries_only() -> None:
    moment = facts(unresolved=["000660", "035420"])
    assert rule_of(proposal(), moment) == "unresolved"
    assert rule_of(proposal(order(Side.SELL)), moment) == ""


def test_mock_takes_nothing_before_the_opening() -> None:
    early = facts(phase=Phase.OPENING_AUCTION, market=None, priced=False)
    assert rule_of(proposal(), early) == ""
    assert rule_of(proposal(), replace(early, early=True)) == "phase"


def test_auction_has_a_collar_of_its_own() -> None:
    far = facts(
        phase=Phase.OPENING_AUCTION, market=MarketNow(price=47_000.0, age_s=1.0)
    )
    assert rule_of(proposal(), far) == ""
    farther = replace(far, market=MarketNow(price=45_000.0, age_s=1.0))
    assert rule_of(proposal(), farther) == "collar"


def test_small_first_order_is_the_canary() -> None:
    small = proposal(order(quantity=1, price=200_000), value=200_000.0)
    moment = facts(canary_done=False, market=MarketNow(price=200_000.0, age_s=0.0))
    assert rule_of(small, moment) == ""


@given(
    quantity=st.one_of(
        st.integers(-(10**12), 10**12),
        st.floats(allow_nan=True, allow_infinity=True),
        st.booleans(),
    ),
    price=st.integers(-(10**9), 10**9),
    side=st.sampled_from(Side),
)
def test_row_117_impossible_order_never_gets_a_permit(
    quantity: float, price: int, side: Side
) -> None:
    band = PriceBand(lower=35_000, upper=65_000)
    new = order(side, quantity, price)
    allowed = rule_of(proposal(new, band=band, value=0.0), facts(sellable=1_000))
    possible = (
        type(quantity) is int
        and 1 <= quantity <= (1_000 if side is Side.SELL else MOST_SHARES)
        and price in band
        and price % (100 if price >= 50_000 else 50) == 0
    )
    collared = side is Side.BUY and price > 51_500
    assert (allowed == "") == (possible and not collared)


# No way around it.


def test_permit_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        Permit(object(), 1, order())
    with pytest.raises(TypeError):
        ChangePermit(object(), 1, REF)


REF = OrderRef(branch="1", number="2", kind=OrderKind.LIMIT)


def test_permit_sends_once() -> None:
    permit = LiveGuard(GuardLimits()).permit(proposal(), facts())
    permit.use()
    with pytest.raises(RuntimeError):
        permit.use()


def test_cancellation_is_permitted_whatever_happens_but_once() -> None:
    permit = LiveGuard(ALL).permit_cancel(1, REF)
    assert permit.use() is REF
    with pytest.raises(RuntimeError):
        permit.use()


def test_sender_cannot_be_built_without_a_guard() -> None:
    with pytest.raises(TypeError):
        OrderSender(Refusing(NotSent("x")), None)


_SENDING = frozenset({"send_order", "amend_order", "cancel_order"})


def calls() -> Iterator[tuple[str, str]]:
    """Yield module and name of every call that sends, and every use of the names."""
    root = Path(kisbt.__file__).parent
    for path in sorted([*root.rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in _SENDING:
                yield path.relative_to(root).as_posix(), node.attr
            if isinstance(node, ast.Constant) and node.value in _SENDING:
                yield path.relative_to(root).as_posix(), str(node.value)


def test_no_module_but_the_sender_sends_orders() -> None:
    assert set(calls()) == {("orders/sender.py", name) for name in _SENDING}


def test_permits_are_made_by_the_guard_alone() -> None:
    root = Path(kisbt.__file__).parent
    found = set()
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = getattr(getattr(node, "func", None), "id", "")
            if called in {"Permit", "ChangePermit"}:
                found.add(path.relative_to(root).as_posix())
    assert found == {"orders/guard.py"}


# What an answer means.


class Refusing:
    """A gateway that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def send_order(self, order: NewOrder) -> None:
        raise self.error

    cancel_order = amend_order = lambda self, order, **options: self.send_order(order)


ANSWERS: dict[str, tuple[Exception, Answer]] = {
    "not sent": (NotSent("x"), Answer.NOT_SENT),
    "refused": (KisRefused("x", code="1"), Answer.REFUSED),
    "throttled": (RateLimited("x", code="1"), Answer.CLAIMED),
    "token": (AuthError("x", code="1"), Answer.CLAIMED),
    "unknown": (OutcomeUnknown("x"), Answer.UNKNOWN),
    "foreign": (ForeignReply("x"), Answer.UNKNOWN),
    "format": (WireError("x"), Answer.UNKNOWN),
    "venue": (MarketRuleError("x", rule="venue"), Answer.IMPOSSIBLE),
    "keys": (ConfigError("x"), Answer.IMPOSSIBLE),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_says_what_is_known(name: str) -> None:
    error, expected = ANSWERS[name]
    guard = LiveGuard(GuardLimits())
    sender = OrderSender(Refusing(error), guard)
    sent = sender.send(guard.permit(proposal(), facts()))
    changed = sender.cancel(guard.permit_cancel(1, REF))
    assert (sent.answer, changed.answer) == (expected, expected)
    assert sent.foreign == (name == "foreign")


def test_mistake_in_kisbt_is_not_an_answer() -> None:
    guard = LiveGuard(GuardLimits())
    sender = OrderSender(Refusing(TypeError("x")), guard)
    with pytest.raises(TypeError):
        sender.send(guard.permit(proposal(), facts()))


def test_the_retry_of_an_order_is_no_second_one() -> None:
    own = replace(SAME, ref=1)
    assert rule_of(proposal(), facts(sent=[own])) == ""


def test_the_smaller_of_two_caps_counts() -> None:
    moment = facts(order_cap=400_000)
    assert rule_of(proposal(value=400_001.0), moment, GuardLimits()) == "order_cap"
    assert rule_of(proposal(value=400_000.0), moment, GuardLimits()) == ""
    limits = GuardLimits(order_cap=300_000)
    assert rule_of(proposal(value=300_001.0), moment, limits) == "order_cap"


def test_an_order_of_unknown_worth_is_not_under_the_cap() -> None:
    moment = facts(order_cap=400_000)
    assert rule_of(proposal(value=0.0), moment, GuardLimits()) == "order_cap"
    canary = GuardLimits(canary_won=50_000)
    found = proposal(value=0.0)
    assert rule_of(found, facts(canary_done=False), canary) == "canary"

"""Fault scripts: how they are written and when they strike."""

import pytest

from kisbt.emulator.faults import FaultPlan, parse_fault, parse_faults
from kisbt.errors import InputError


@pytest.mark.parametrize(
    ("line", "verb", "do", "target", "nth", "options"),
    [
        ("http(order, 1, refuse)", "http", "refuse", "order", 1, {}),
        ("http(*, 2, hang 15)", "http", "hang", "*", 2, {"arg": 15}),
        ("accept_then(hang 15)", "accept_then", "hang", "order", 1, {"arg": 15}),
        ("accept_then(truncate, tr=ccld)", "accept_then", "truncate", "ccld", 1, {}),
        ("gw(APBK0919, 500)", "gw", "gw", "*", 1, {"code": "APBK0919", "http": 500}),
        (
            "accept_then(gw(EGW00201, 500))",
            "accept_then",
            "gw",
            "order",
            1,
            {"code": "EGW00201", "http": 500},
        ),
        ("token(ttl=60)", "token", "ttl", "*", 1, {"arg": 60}),
        ("token(revoke)", "token", "revoke", "*", 1, {}),
        ("lag(ledger, 2.5)", "lag", "ledger", "*", 1, {"seconds": 2.5}),
        ("page(size=15)", "page", "size", "*", 1, {"arg": 15}),
        ("ws(dup, 3, tr=trade, nth=7)", "ws", "dup", "trade", 7, {"arg": 3}),
        ("ex(partial, 10, 10)", "ex", "partial", "order", 1, {"arg": 10, "arg2": 10}),
        ("ex(halt, 005930)", "ex", "halt", "order", 1, {"arg": "005930"}),
        (
            "quirk(daily_ccld_empty, off)",
            "quirk",
            "daily_ccld_empty",
            "*",
            1,
            {"on": False},
        ),
    ],
)
def test_line_reads_as_a_fault(
    line: str, verb: str, do: str, target: str, nth: int, options: dict[str, object]
) -> None:
    fault = parse_fault(line)
    assert (fault.verb, fault.do, fault.target, fault.nth, fault.options) == (
        verb,
        do,
        target,
        nth,
        options,
    )


@pytest.mark.parametrize(
    "item",
    [
        "http",
        "sing(order)",
        "http(order, 1, sing)",
        "http(order, 0, rst)",
        "http(order, x, rst)",
        "ws(drop, count=-1)",
        {"verb": "ws"},
        {},
        17,
        None,
        ["http(order, 1, rst)"],
    ],
)
def test_what_is_no_fault_is_refused(item: object) -> None:
    with pytest.raises(InputError):
        parse_fault(item)


def test_script_may_be_a_list_or_one_fault() -> None:
    assert len(parse_faults(["token(revoke)", {"verb": "ws", "do": "drop"}])) == 2
    assert len(parse_faults("token(revoke)")) == 1


def test_fault_strikes_from_its_nth_event_as_often_as_it_says() -> None:
    plan = FaultPlan()
    plan.add(parse_fault("http(order, 3, rst, count=2)"))
    hits = [plan.strike("http", ("order",)) is not None for _event in range(6)]
    assert hits == [False, False, True, True, False, False]


def test_fault_counts_only_what_it_is_for() -> None:
    plan = FaultPlan()
    plan.add(parse_fault("http(order, 1, rst)"))
    assert plan.strike("http", ("balance",)) is None
    assert plan.strike("ws", ("order",)) is None
    assert plan.strike("http", ("order", "TTTC0012U")) is not None


def test_every_nth_event_can_be_hit() -> None:
    plan = FaultPlan()
    plan.add(parse_fault({"verb": "gw", "code": "X", "nth": "*"}))
    assert all(plan.strike("gw", ()) for _event in range(50))


def test_rate_is_the_same_for_the_same_seed() -> None:
    def hits(seed: int) -> list[bool]:
        fault = parse_fault({"verb": "ws", "do": "mute", "rate": 0.2, "seed": seed})
        return [fault.strikes() for _event in range(200)]

    assert hits(1) == hits(1)
    assert hits(1) != hits(2)
    assert 20 < sum(hits(1)) < 65

"""Packed rows read as they were written."""

from collections.abc import Callable
from typing import Any

import pytest

from kisbt.bt import packed
from kisbt.bt.packed import Packed
from kisbt.bt.recorder import Execution
from kisbt.model.order import Side


@pytest.fixture(autouse=True)
def _three_a_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_ROWS", 3)


def _filled(*rows: Any, **how: Any) -> Packed[Any]:
    found: Packed[Any] = Packed(**how)
    found.extend(rows)
    return found


def test_rows_come_out_in_their_order() -> None:
    rows = _filled(*range(8))
    assert len(rows) == 8
    assert list(rows) == [*range(8)]
    assert [rows[n] for n in (0, 2, 3, 7, -1, -8)] == [0, 2, 3, 7, 7, 0]
    assert rows[1:-1:2] == [1, 3, 5]
    with pytest.raises(IndexError):
        _row = rows[8]


def test_a_row_is_as_it_was() -> None:
    fill = Execution(
        bar=736_000.375,
        symbol="990001",
        side=Side.SELL,
        quantity=3,
        price=0.1 + 0.2,
        commission=1.0,
        tax=2.0,
        slippage=0.0,
        order_number=7,
    )
    rows = _filled(fill, fill, fill)
    assert rows[0] == fill
    assert rows[0] is not fill
    assert rows[0].side is Side.SELL


def test_what_is_fixed_is_not_copied() -> None:
    feed = object()
    rows = _filled((feed, 1), (feed, 2), (feed, 3), fixed=lambda: {"feed": feed})
    assert all(found is feed for found, _number in rows)


def test_what_cannot_be_packed_is_kept() -> None:
    strange: Callable[[], int] = lambda: 7  # noqa: E731
    rows = _filled(strange, 1, 2, 3)
    assert rows[0] is strange
    assert list(rows) == [strange, 1, 2, 3]

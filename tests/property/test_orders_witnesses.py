"""Where queries cannot be trusted, notices and a late balance prove no fill too many."""

import random
from dataclasses import dataclass

import pytest

from kisbt.model.order import Side
from kisbt.orders.ledger import Claim, witnessed


@dataclass(slots=True)
class Order:
    """An order, what really became of it, and what kisbt knows."""

    side: Side
    quantity: int
    truth: int = 0
    noticed: int = 0
    applied: int = 0

    @property
    def sign(self) -> int:
        return 1 if self.side is Side.BUY else -1

    def claim(self, number: int) -> Claim:
        return Claim(
            ticket=number,
            side=self.side,
            noticed=self.noticed,
            applied=self.applied,
            most=self.quantity,
        )


def look(orders: list[Order], balance: int) -> None:
    """Book what is proved now."""
    known = 1_000 + sum(o.sign * o.applied for o in orders)
    claims = [order.claim(number) for number, order in enumerate(orders)]
    for number, level in witnessed(claims, balance - known).items():
        assert level > orders[number].applied
        orders[number].applied = level


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("notices_booked", [False, True])
def test_nothing_is_booked_that_was_not_filled(
    block: int, notices_booked: bool
) -> None:
    dice = random.Random(block)
    whole = 0
    for _turn in range(1_500):
        most = dice.choice([1, 2, 3])
        orders: list[Order] = []
        positions = [1_000]
        for _step in range(25):
            if len(orders) < most and dice.random() < 0.3:
                orders.append(Order(dice.choice(list(Side)), dice.randint(1, 20)))
            for order in orders:
                left = order.quantity - order.truth
                if left and dice.random() < 0.4:
                    part = dice.randint(1, left)
                    order.truth += part
                    order.noticed += part if dice.random() < 0.7 else 0
                    positions.append(positions[-1] + order.sign * part)
                if notices_booked:
                    order.applied = max(order.applied, order.noticed)
            look(orders, positions[max(0, len(positions) - 1 - dice.randint(0, 2))])
            assert all(order.applied <= order.truth for order in orders)
        look(orders, positions[-1])
        assert all(order.applied <= order.truth for order in orders)
        if len(orders) == 1:
            assert orders[0].applied == orders[0].truth
        whole += all(order.applied == order.truth for order in orders)
    assert whole > 700

"""An account at the broker: what it holds, what it can buy, what it earned."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Environment(StrEnum):
    """Which of the broker's servers: with real money, or its practice market."""

    REAL = "real"
    MOCK = "mock"


@dataclass(frozen=True, slots=True)
class Account:
    """An account number in its two parts.

    Attributes:
        number: eight digits.
        product: two digits; 01 is a stock account.
    """

    number: str
    product: str = "01"

    def __str__(self) -> str:
        return f"{self.number}-{self.product}"

    @property
    def masked(self) -> str:
        """The number for people and logs: ****5678-01."""
        return f"****{self.number[-4:]}-{self.product}"

    def __repr__(self) -> str:
        # Tracebacks and logs show requests and keys; the number stays hidden there.
        return f"Account({self.masked})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Shares of one symbol held.

    Attributes:
        quantity: 0 for a position sold out in the last two days.
        sellable: not promised to working sell orders.
        average_price: won paid a share, four decimals.
        cost: won paid.
        price: last price, won.
        value, profit: won at the last price.
        profit_pct: of the cost.
        bought_today, sold_today: shares.
        change_pct: of the price against the previous close.
    """

    symbol: str
    name: str
    quantity: int
    sellable: int
    average_price: float
    cost: int
    price: int
    value: int
    profit: int
    profit_pct: float
    bought_today: int = 0
    sold_today: int = 0
    bought_before: int = 0
    sold_before: int = 0
    change_pct: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """Money of an account, won.

    Attributes:
        deposit: today's cash; a purchase leaves it only when it settles (T+2).
        deposit_d1: cash after tomorrow's settlement.
        deposit_d2: cash after all trades so far have settled.
        securities_value: shares at the last price.
        total_value: securities and `deposit_d2`.
        net_assets: total less loans.
        cost, profit: of the positions held.
        bought_today, sold_today: amounts.
        costs_today: commission and tax.
        total_before: total value of the previous day.
        change, change_pct: of the total against the previous day.
    """

    deposit: int
    deposit_d1: int
    deposit_d2: int
    securities_value: int
    total_value: int
    net_assets: int
    cost: int
    profit: int
    bought_today: int = 0
    sold_today: int = 0
    costs_today: int = 0
    bought_before: int = 0
    sold_before: int = 0
    costs_before: int = 0
    total_before: int = 0
    change: int = 0
    change_pct: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Positions and money at one moment; one page of it on the wire."""

    positions: tuple[Position, ...]
    funds: Funds


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyingPower:
    """What can be bought now.

    Attributes:
        cash: won that may be ordered with.
        amount, quantity: without running into debt.
        max_amount, max_quantity: with the broker's credit for unsettled trades.
        reference_price: won a share used for the quantities; the upper limit for
            a market order.
        reusable: won from today's sales.
    """

    cash: int
    amount: int
    quantity: int
    max_amount: int
    max_quantity: int
    reference_price: int
    reusable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sellable:
    """What can be sold of one holding.

    Attributes:
        bought, sold: shares of today and before.
        quantity: held.
        sellable: held and not promised to working sell orders.
    """

    symbol: str
    name: str
    bought: int
    sold: int
    quantity: int
    sellable: int
    average_price: float
    cost: int
    price: int
    value: int
    profit: int
    profit_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeProfit:
    """Realised result of one symbol on one day, won."""

    day: date
    symbol: str
    name: str
    held: int
    purchase_price: float
    bought_quantity: int
    bought_amount: int
    sold_price: float
    sold_quantity: int
    sold_amount: int
    profit: int
    profit_pct: float
    commission: int
    tax: int
    interest: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayProfit:
    """Realised result of one day, won."""

    day: date
    bought_amount: int
    sold_amount: int
    profit: int
    profit_pct: float
    commission: int
    tax: int
    interest: int
    bought_quantity: int
    sold_quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfitTotals:
    """Sums over a period, won and shares.

    Attributes:
        sold_settled, bought_settled: amounts after costs.
        profit_pct: None where the broker does not tell it.
    """

    sold_quantity: int
    sold_amount: int
    sold_commission: int
    sold_tax: int
    sold_settled: int
    bought_quantity: int
    bought_amount: int
    bought_commission: int
    bought_tax: int
    bought_settled: int
    profit: int
    interest: int = 0
    profit_pct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeProfits:
    """Realised results by symbol and day, and their sums."""

    rows: tuple[TradeProfit, ...]
    totals: ProfitTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class DayProfits:
    """Realised results by day, and their sums."""

    rows: tuple[DayProfit, ...]
    totals: ProfitTotals

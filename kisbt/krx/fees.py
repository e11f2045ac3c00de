"""What a trade costs: the broker's commission and the transaction tax.

Rates are exact fractions and amounts are cut to whole won, so that no float error
takes or gives a won.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import floor, isfinite
from operator import attrgetter

from kisbt.errors import ConfigError
from kisbt.model.instrument import Market, Product
from kisbt.text import _

# Won. An amount this near a whole one is taken as that: float noise of price x shares.
_NOISE = 1e-6

# KIS BanKIS (online), per side. Source: bullroit.net summary of the KIS fee table;
# not confirmed by KIS's own page, hence a setting.
BANKIS = "bankis"
_BANKIS_STOCK = Fraction("0.000140527")
_BANKIS_OTHERS = Fraction("0.000146527")

# A higher rate is a per cent number by mistake: the dearest online tariff of KIS is
# 0.497 %, and no Korean tax on sales has passed 0.3 %.
_HIGHEST_RATE = Fraction(1, 100)

_EXEMPT = frozenset({Product.ETF, Product.ETN, Product.ELW, Product.INDEX})


@dataclass(frozen=True, slots=True)
class TaxRow:
    """Transaction tax of a sale from one session on, as shares of the amount.

    Attributes:
        trade_from: first trade date; the law counts the settlement date, which is
            two sessions later.
        kospi: securities transaction tax and rural tax together.
        kosdaq, konex: securities transaction tax.
    """

    trade_from: date
    kospi: Fraction
    kosdaq: Fraction
    konex: Fraction

    def rate(self, market: Market) -> Fraction:
        """Return the rate of a board."""
        return {
            Market.KOSPI: self.kospi,
            Market.KOSDAQ: self.kosdaq,
            Market.KONEX: self.konex,
        }[market]


TaxTable = tuple[TaxRow, ...]

# Rural tax (농어촌특별세) on KOSPI sales, untouched by the cuts.
_RURAL = Fraction("0.0015")


def _row(trade_from: date, stt: str, kosdaq: str, konex: str) -> TaxRow:
    return TaxRow(trade_from, Fraction(stt) + _RURAL, Fraction(kosdaq), Fraction(konex))


# Source of the rates: press on each change. Trade dates of 2019 and 2024 are from
# notices (fntimes 201905300827066188, 한양증권 notice 1419); the others are two
# sessions before the first settlement date of the year.
TAX_TABLE: TaxTable = (
    _row(date.min, "0.0015", "0.0030", "0.0030"),
    _row(date(2019, 5, 30), "0.0010", "0.0025", "0.0010"),
    _row(date(2020, 12, 29), "0.0008", "0.0023", "0.0010"),
    _row(date(2022, 12, 28), "0.0005", "0.0020", "0.0010"),
    _row(date(2023, 12, 27), "0.0003", "0.0018", "0.0010"),
    _row(date(2024, 12, 27), "0.0000", "0.0015", "0.0010"),
    _row(date(2025, 12, 29), "0.0005", "0.0020", "0.0010"),
)


def merge_tax_rows(*rows: TaxRow) -> TaxTable:
    """Return the known table with `rows` added; the same date replaces a row."""
    found = {row.trade_from: row for row in (*TAX_TABLE, *rows)}
    return tuple(found[day] for day in sorted(found))


def parse_rate(value: object, *, path: str) -> Fraction:
    """Return a rate given as a number or text, exactly as written.

    Args:
        value: a share of the amount: 0.00015 is 0.015 %.
        path: key of the configuration, for the error.

    Raises:
        ConfigError: no number from 0 to 0.01.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        written = Decimal(str(value))
        rate = Fraction(written)
    except (InvalidOperation, TypeError, ValueError, OverflowError):
        rate = Fraction(-1)
    if not 0 <= rate <= _HIGHEST_RATE:
        raise ConfigError(
            _(
                "{path}: {found!r}: expected a share of the amount from 0 to 0.01; "
                "0.00015 is 0.015 %"
            ).format(path=path, found=value),
            path=path,
        )
    return rate


def parse_commission(
    value: str | float, product: Product, *, path: str = "broker.commission"
) -> Fraction:
    """Return the commission rate of one side.

    Args:
        value: ``bankis``, or a share of the amount: 0.00015 is 0.015 %.
        product: ETF, ETN and ELW cost a little more with ``bankis``.
        path: key of the configuration, for the error.

    Raises:
        ConfigError: neither ``bankis`` nor a number from 0 to 0.01.
    """
    if isinstance(value, str) and value.strip().lower() == BANKIS:
        return _BANKIS_STOCK if product is Product.STOCK else _BANKIS_OTHERS
    return parse_rate(value, path=path)


def _floor_won(amount: float, rate: Fraction) -> int:
    if not (isfinite(amount) and amount >= 0):
        raise ValueError(f"amount {amount}: expected won, zero or more")
    whole = round(amount)
    if abs(amount - whole) <= _NOISE:
        share, of = rate.as_integer_ratio()
        return whole * share // of
    return floor(Fraction(amount) * rate)


def commission(amount: float, rate: Fraction) -> int:
    """Return the commission on a fill of `amount` won, cut to a whole won.

    Source:
        Brokers drop fractions of a won; whether KIS cuts at 10 won is unconfirmed.
    """
    return _floor_won(amount, rate)


def tax_rate(
    *,
    market: Market,
    product: Product,
    session: date,
    table: TaxTable | None = None,
) -> Fraction:
    """Return the transaction tax of a sale on `session` as a share of the amount.

    ETF, ETN and ELW are exempt.
    """
    if product in _EXEMPT:
        return Fraction(0)
    rows = TAX_TABLE if table is None else table
    number = bisect_right(rows, session, key=attrgetter("trade_from")) - 1
    return rows[number].rate(market)


def transaction_tax(
    amount: float,
    *,
    market: Market,
    product: Product,
    session: date,
    table: TaxTable | None = None,
) -> int:
    """Return the tax on a sale of `amount` won on `session`, cut to a whole won."""
    rate = tax_rate(market=market, product=product, session=session, table=table)
    return _floor_won(amount, rate)

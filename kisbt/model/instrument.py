"""What is traded: symbol, market and product."""

import re
from dataclasses import dataclass
from enum import StrEnum

from kisbt.errors import InputError
from kisbt.text import _

_CODE = re.compile(r"[0-9][0-9A-Z]{5}")


class Market(StrEnum):
    """Board a security is listed on; decides ticks and tax."""

    KOSPI = "KOSPI"
    KOSDAQ = "KOSDAQ"
    KONEX = "KONEX"


class Product(StrEnum):
    """Kind of security; decides ticks, tax, limits and sessions."""

    STOCK = "STOCK"
    ETF = "ETF"
    ETN = "ETN"
    ELW = "ELW"
    INDEX = "INDEX"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A security, or an index used as a benchmark.

    Attributes:
        symbol: six characters, leading zeros kept; an index may be a word.
        name: as listed, for people.
        leverage: daily multiple of an ETF or ETN (2 or -2); its absolute value
            widens the daily price limit.
    """

    symbol: str
    name: str = ""
    market: Market = Market.KOSPI
    product: Product = Product.STOCK
    leverage: float = 1.0

    @property
    def label(self) -> str:
        """Code and name for people."""
        return f"{self.symbol} {self.name}".strip()


def parse_symbol(text: str) -> str:
    """Return the six-character code in `text`, upper case, blanks removed.

    A leading ``A`` (``A005930``, as some exports write it) is dropped.

    Raises:
        InputError: it is no six-character code.

    Source:
        KRX short codes: six characters, digits with letters since 2024 (0001A0).
    """
    code = text.strip().upper()
    if len(code) == 7 and code[0] == "A":
        code = code[1:]
    if not _CODE.fullmatch(code):
        raise InputError(
            _(
                "symbol {found!r}: expected six characters such as 005930; "
                "keep leading zeros"
            ).format(found=text)
        )
    return code

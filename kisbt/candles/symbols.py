"""``symbols.csv``: what each symbol of a store is."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from kisbt.candles.files import replace_files
from kisbt.errors import BadCandle, InputError, StorageError
from kisbt.model.instrument import Instrument, Market, Product, parse_symbol
from kisbt.text import _

FILE_NAME = "symbols.csv"
COLUMNS = ("symbol", "name", "market", "product", "leverage")

# Indices have words instead of codes: KOSPI, KOSPI200, KOSDAQ150, KRX300, KS11.
_INDEX_NAME = re.compile(r"V?(KOSPI|KOSDAQ|KONEX|KRX)[0-9A-Z]{0,8}|K[SQ][0-9]{2,3}")


def parse_store_symbol(text: str) -> str:
    """Return the name under which a store keeps `text`: a code or an index word.

    Raises:
        InputError: neither a six-character code nor an index word.
    """
    word = text.strip().upper()
    return word if _INDEX_NAME.fullmatch(word) else parse_symbol(text)


def read_symbols(path: Path) -> dict[str, Instrument]:
    """Return the instruments of a ``symbols.csv``; {} if there is no such file.

    Columns beyond `COLUMNS` are ignored; a missing or empty market, product or
    leverage is KOSPI, STOCK, 1.

    Raises:
        BadCandle: a row cannot be read; names file and line.
        StorageError: the file exists but cannot be opened.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(
            _("{path}: cannot be read: {why}").format(path=path, why=error.strerror)
        ) from error
    except UnicodeDecodeError as error:
        raise BadCandle(
            _("{path}: not UTF-8 text; save it as UTF-8 CSV").format(path=path),
            file=str(path),
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if "symbol" not in (reader.fieldnames or ()):
        raise _bad(
            path, 1, _("no column symbol; expected {x}").format(x=",".join(COLUMNS))
        )
    found: dict[str, Instrument] = {}
    for row in reader:
        try:
            instrument = _instrument(row)
        except (InputError, ValueError) as error:
            raise _bad(path, reader.line_num, str(error)) from error
        if instrument.symbol in found:
            raise _bad(
                path,
                reader.line_num,
                _("{symbol} is listed twice").format(symbol=instrument.symbol),
            )
        found[instrument.symbol] = instrument
    return found


def write_symbols(path: Path, instruments: Mapping[str, Instrument]) -> None:
    """Write a ``symbols.csv``, sorted by symbol; atomic.

    Raises:
        StorageError: it could not be written; the old file is untouched.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for symbol in sorted(instruments):
        item = instruments[symbol]
        leverage = "" if item.leverage == 1 else f"{item.leverage:g}"
        writer.writerow([symbol, item.name, item.market, item.product, leverage])
    content = buffer.getvalue().encode()
    replace_files({path: content})


def _instrument(row: Mapping[str, str | None]) -> Instrument:
    cells = {key: (value or "").strip() for key, value in row.items() if key}
    market = cells.get("market", "").upper() or Market.KOSPI
    product = cells.get("product", "").upper() or Product.STOCK
    if market not in list(Market):
        raise ValueError(
            _("market {found!r}: expected one of {known}").format(
                found=market, known=", ".join(Market)
            )
        )
    if product not in list(Product):
        raise ValueError(
            _("product {found!r}: expected one of {known}").format(
                found=product, known=", ".join(Product)
            )
        )
    leverage = cells.get("leverage", "") or "1"
    try:
        factor = float(leverage)
    except ValueError:
        factor = 0.0
    if not 1 <= abs(factor) <= 10:
        raise ValueError(
            _("leverage {found!r}: expected a number such as 2 or -1").format(
                found=leverage
            )
        )
    return Instrument(
        symbol=parse_store_symbol(cells["symbol"]),
        name=cells.get("name", ""),
        market=Market(market),
        product=Product(product),
        leverage=factor,
    )


def _bad(path: Path, line: int, problem: str) -> BadCandle:
    where = _("{path}, line {line}").format(path=path, line=line)
    return BadCandle(f"{where}: {problem}", file=str(path), line=line)

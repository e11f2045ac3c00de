"""The broker's symbol master files: every listed symbol with its market and kind.

They are plain downloads, need no key, and are made anew on every business day.

Source:
    koreainvestment/open-trading-api stocks_info/ (Python samples and the .h layouts,
    which agree on every width), 2026-07-09.
"""

import io
import zipfile
from dataclasses import dataclass
from enum import StrEnum

import requests

from kisbt.errors import NotSent, OutcomeUnknown, WireError
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.text import _

_BASE_URL = "https://new.real.download.dws.co.kr/common/master/"
_LARGEST_ZIP = 16 << 20  # bytes; the longest real one has some 200 kB
_LARGEST_FILE = 64 << 20
_TIMEOUT_S = (3.05, 20.0)

_CODE = 9  # characters of the short code, then of the standard code
_STANDARD = 12


class MasterFile(StrEnum):
    """A master file kisbt reads, by its name on the server."""

    KOSPI = "kospi_code"
    KOSDAQ = "kosdaq_code"
    KONEX = "konex_code"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things are in the fixed part at the end of a line, in characters.

    Attributes:
        tail: length of that part.
        base_price: where the base price begins, nine characters.
        halted: where the flags halted, liquidation and administrative begin.
    """

    market: Market
    tail: int
    base_price: int
    halted: int


_LAYOUTS = {
    MasterFile.KOSPI: _Layout(Market.KOSPI, 227, 41, 60),
    MasterFile.KOSDAQ: _Layout(Market.KOSDAQ, 221, 36, 55),
    MasterFile.KONEX: _Layout(Market.KONEX, 184, 2, 21),
}

# Group codes of what kisbt trades; the rest (rights, ELW, funds ...) is left out.
_PRODUCTS = {
    "ST": Product.STOCK,
    "DR": Product.STOCK,
    "FS": Product.STOCK,
    "RT": Product.STOCK,
    "IF": Product.STOCK,
    "MF": Product.STOCK,
    "EF": Product.ETF,
    "FE": Product.ETF,
    "EN": Product.ETN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterRow:
    """One symbol of a master file.

    Attributes:
        standard_code: ISIN.
        base_price: won, of the next session; 0 if the file has none.
        warning: 00 none, 01 caution, 02 warning, 03 risk.
    """

    instrument: Instrument
    standard_code: str
    base_price: int
    halted: bool
    liquidation: bool
    administrative: bool
    warning: str


def parse_master(content: bytes, file: MasterFile) -> tuple[MasterRow, ...]:
    """Return the symbols of an unpacked master file that kisbt can trade.

    Raises:
        WireError: a line is too short, or nothing in the file is a symbol.
    """
    layout = _LAYOUTS[file]
    rows: list[MasterRow] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        text = line.rstrip(b"\r").decode("cp949", errors="replace")
        if not text.strip():
            continue
        if len(text) <= layout.tail + _CODE + _STANDARD:
            raise WireError(
                _(
                    "{file} line {number}: {found} characters, expected more than "
                    "{wanted}; the layout has changed"
                ).format(
                    file=file,
                    number=number,
                    found=len(text),
                    wanted=layout.tail + _CODE + _STANDARD,
                )
            )
        row = _parse_line(text, layout)
        if row is not None:
            rows.append(row)
    if not rows:
        raise WireError(_("{file}: no symbol in it").format(file=file))
    return tuple(rows)


def _parse_line(text: str, layout: _Layout) -> MasterRow | None:
    # A Korean letter is two bytes but one character: count the end from the right.
    head, tail = text[: -layout.tail], text[-layout.tail :]
    product = _PRODUCTS.get(tail[:2])
    symbol = head[:_CODE].strip()
    if symbol.startswith("Q") and len(symbol) == 7:  # an ETN's short code
        product, symbol = Product.ETN, symbol[1:]
    if product is None or len(symbol) != 6:
        return None
    name = head[_CODE + _STANDARD :].strip()
    at = layout.halted
    price = tail[layout.base_price : layout.base_price + 9].strip()
    return MasterRow(
        instrument=Instrument(
            symbol=symbol,
            name=name,
            market=layout.market,
            product=product,
            leverage=leverage_of(name, product),
        ),
        standard_code=head[_CODE : _CODE + _STANDARD].strip(),
        base_price=int(price) if price.isdecimal() else 0,
        halted=tail[at] == "Y",
        liquidation=tail[at + 1] == "Y",
        administrative=tail[at + 2] == "Y",
        warning=tail[at + 3 : at + 5],
    )


def leverage_of(name: str, product: Product) -> float:
    """Return the daily multiple that the name of an ETF or ETN says.

    The files do not tell it; KRX's naming rule does.

    Source:
        KRX listing rules for ETF and ETN names: 레버리지 is 2 times, 인버스 −1,
        인버스2X or 곱버스 −2 (and 0.5 or 3 times where written as 0.5X, 3X).
    """
    if product not in {Product.ETF, Product.ETN}:
        return 1.0
    word = name.upper().replace(" ", "")
    inverse = "인버스" in word
    size = next(
        (
            value
            for mark, value in (("3X", 3.0), ("0.5X", 0.5), ("2X", 2.0))
            if mark in word
        ),
        2.0 if "레버리지" in word else 1.0,
    )
    return -size if inverse else size


def unpack_master(content: bytes, file: MasterFile) -> bytes:
    """Return the one file in a downloaded zip.

    Raises:
        WireError: no zip, not the file expected, or one far too large.
    """
    name = f"{file}.mst"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            member = archive.getinfo(name)
            if member.file_size > _LARGEST_FILE:
                raise WireError(
                    _("{file}: {size} bytes; far more than such a file has").format(
                        file=name, size=member.file_size
                    )
                )
            with archive.open(member) as stream:
                return stream.read(_LARGEST_FILE)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise WireError(
            _("{file}: what was downloaded is not the zip expected").format(file=name)
        ) from error


def fetch_master(
    file: MasterFile, *, base_url: str = _BASE_URL
) -> tuple[MasterRow, ...]:
    """Download a master file; no key is used or sent.

    Args:
        file: which.
        base_url: where the files lie, with a slash at the end.

    Raises:
        NotSent, OutcomeUnknown: the download failed; try again later.
        WireError: it is no master file.
    """
    return parse_master(
        unpack_master(_download(f"{base_url}{file}.mst.zip"), file), file
    )


def _download(url: str) -> bytes:
    with requests.Session() as session:
        session.trust_env = False
        try:
            response = session.get(
                url, timeout=_TIMEOUT_S, allow_redirects=False, stream=True
            )
            if response.status_code != requests.codes.ok:
                raise OutcomeUnknown(
                    _("{url}: status {status}; try again later").format(
                        url=url, status=response.status_code
                    )
                )
            content = bytearray()
            for part in response.iter_content(64 << 10):
                content += part
                if len(content) > _LARGEST_ZIP:
                    raise WireError(
                        _("{url}: longer than such a file is").format(url=url)
                    )
        except requests.ConnectionError as error:
            raise NotSent(
                _("{url}: no connection; try again later").format(url=url)
            ) from error
        except requests.RequestException as error:
            raise OutcomeUnknown(
                _("{url}: the download failed; try again later").format(url=url)
            ) from error
    return bytes(content)

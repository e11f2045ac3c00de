import io
import zipfile
from pathlib import Path

import pytest

from kisbt.errors import NotSent, OutcomeUnknown, WireError
from kisbt.kis.master import (
    MasterFile,
    fetch_master,
    leverage_of,
    parse_master,
    unpack_master,
)
from kisbt.model.instrument import Market, Product
from tests.helpers.loopback import Loopback, text

# Offsets and widths of the broker's own .h layouts: base price, flags.
PLACES = {
    MasterFile.KOSPI: (227, 41, 60),
    MasterFile.KOSDAQ: (221, 36, 55),
    MasterFile.KONEX: (184, 2, 21),
}


def line(
    file: MasterFile,
    code: str,
    name: str,
    group: str,
    *,
    price: int = 71_500,
    flags: str = "NNN00",
) -> bytes:
    """Return a record as the files have it: name 40 bytes wide, then the tail."""
    length, price_at, flags_at = PLACES[file]
    tail = list(" " * length)
    tail[:2] = group
    tail[price_at : price_at + 9] = f"{price:09}"
    tail[flags_at : flags_at + 5] = flags
    head = f"{code:9}KR7{code:9}".encode() + name.encode("cp949").ljust(40)
    return head + "".join(tail).encode() + b"\n"


@pytest.mark.parametrize("file", MasterFile)
def test_record_is_read_from_the_right(file: MasterFile) -> None:
    (row,) = parse_master(line(file, "005930", "삼성전자", "ST", flags="YNY02"), file)
    assert row.instrument.symbol == "005930"
    assert row.instrument.name == "삼성전자"
    assert row.instrument.market is Market[file.name]
    assert row.base_price == 71_500
    assert (row.halted, row.liquidation, row.administrative) == (True, False, True)
    assert row.warning == "02"


def test_kinds_are_told_and_untraded_ones_left_out() -> None:
    content = b"".join(
        line(MasterFile.KOSPI, code, name, group)
        for code, name, group in (
            ("005930", "삼성전자", "ST"),
            ("069500", "KODEX 200", "EF"),
            ("122630", "KODEX 레버리지", "EF"),
            ("Q530036", "삼성 인버스 2X WTI원유 선물 ETN", "EN"),
            ("580001", "미래 콜", "EW"),
        )
    )
    rows = {
        row.instrument.symbol: (row.instrument.product, row.instrument.leverage)
        for row in parse_master(content, MasterFile.KOSPI)
    }
    assert rows == {
        "005930": (Product.STOCK, 1.0),
        "069500": (Product.ETF, 1.0),
        "122630": (Product.ETF, 2.0),
        "530036": (Product.ETN, -2.0),
    }


@pytest.mark.parametrize(
    ("name", "leverage"),
    [
        ("KODEX 200", 1.0),
        ("KODEX 레버리지", 2.0),
        ("KODEX 인버스", -1.0),
        ("KODEX 200선물인버스2X", -2.0),
        ("TIGER 200선물인버스2X", -2.0),
        ("KB S&P 레버리지 3X", 3.0),
    ],
)
def test_leverage_is_read_from_the_name(name: str, leverage: float) -> None:
    assert leverage_of(name, Product.ETF) == leverage


def test_a_stock_has_no_leverage_whatever_its_name() -> None:
    assert leverage_of("레버리지인버스2X", Product.STOCK) == 1.0


@pytest.mark.parametrize("content", [b"", b"\n\n", b"short line\n"])
def test_other_content_is_refused(content: bytes) -> None:
    with pytest.raises(WireError):
        parse_master(content, MasterFile.KOSPI)


def zipped(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK", zipped("other.mst", b"x")])
def test_other_downloads_are_refused(content: bytes) -> None:
    with pytest.raises(WireError):
        unpack_master(content, MasterFile.KOSPI)


def test_file_is_downloaded_and_read(tmp_path: Path) -> None:
    record = line(MasterFile.KOSDAQ, "035900", "JYP Ent.", "ST")
    body = zipped("kosdaq_code.mst", record)
    with Loopback(text(body)) as server:
        (row,) = fetch_master(MasterFile.KOSDAQ, base_url=f"{server.url}/")
        assert server.requests[0].path == "/kosdaq_code.mst.zip"
        assert "appkey" not in server.requests[0].headers
    assert row.instrument.name == "JYP Ent."


def test_missing_file_and_missing_server_are_told_apart() -> None:
    with Loopback(text(b"", status=404)) as server:
        url = f"{server.url}/"
        with pytest.raises(OutcomeUnknown):
            fetch_master(MasterFile.KOSPI, base_url=url)
    with pytest.raises(NotSent):
        fetch_master(MasterFile.KOSPI, base_url=url)

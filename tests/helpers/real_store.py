"""A candle store made of the real Korean candles, by kisbt's own importer."""

from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from kisbt.candles.importer import ImportReport, import_candles
from kisbt.candles.labels import Label
from kisbt.candles.reader import ImportRequest
from kisbt.candles.store import CandleStore
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.instrument import Instrument, Market, Product

INDICES = ("KOSPI", "KOSDAQ", "KOSPI200")
ETFS: Mapping[str, tuple[str, float]] = {
    "114800": ("KODEX 인버스", -1.0),
    "122630": ("KODEX 레버리지", 2.0),
    "233740": ("KODEX 코스닥150레버리지", 2.0),
    "251340": ("KODEX 코스닥150선물인버스", -1.0),
    "252670": ("KODEX 200선물인버스2X", -2.0),
}
# Stocks with minute candles only, which the folder's symbols.csv does not list.
MINUTE_ONLY: Mapping[str, tuple[str, Market]] = {
    "062040": ("산일전기", Market.KOSPI),
    "067310": ("하나마이크론", Market.KOSDAQ),
    "078350": ("한양디지텍", Market.KOSDAQ),
    "090710": ("휴림로봇", Market.KOSDAQ),
    "166090": ("하나머티리얼즈", Market.KOSDAQ),
    "174900": ("앱클론", Market.KOSDAQ),
    "226950": ("올릭스", Market.KOSDAQ),
    "240810": ("원익IPS", Market.KOSDAQ),
    "267260": ("HD현대일렉트릭", Market.KOSPI),
    "298040": ("효성중공업", Market.KOSPI),
    "319400": ("현대무벡스", Market.KOSDAQ),
    "319660": ("피에스케이", Market.KOSDAQ),
    "356860": ("티엘비", Market.KOSDAQ),
    "397030": ("에이프릴바이오", Market.KOSDAQ),
    "402340": ("SK스퀘어", Market.KOSPI),
    "437730": ("삼현", Market.KOSDAQ),
    "466100": ("클로봇", Market.KOSDAQ),
}


def build_real_store(
    real: Path, dest: Path, *, symbols: Collection[str] | None = None
) -> CandleStore:
    """Import the real candles under `real` into a new store at `dest`.

    Daily adjusted candles of stocks and ETFs, the three indices, the 1-minute
    candles of 2025-26, and ``symbols.csv``.

    Args:
        real: folder of the real candles.
        dest: folder of the store.
        symbols: only these (codes and index words); None for all.
    """
    store = CandleStore(dest)
    store.add_instruments(_instruments(real, symbols))
    for name in ("daily_adjusted.parquet", "etf_daily.parquet"):
        import_some(real / name, store, ImportRequest(interval=DAILY), symbols)
    import_some(
        real / "minute/kis_1m_2025_2026.parquet",
        store,
        ImportRequest(interval=MINUTE, label=Label.START),
        symbols,
    )
    for index in INDICES:
        if symbols is None or index in symbols:
            request = ImportRequest(interval=DAILY, symbol=index)
            import_candles(real / f"index/{index}.csv", store, request)
    return store


def import_some(
    path: Path,
    store: CandleStore,
    request: ImportRequest,
    symbols: Collection[str] | None,
) -> ImportReport | None:
    """Import those of `symbols` that a Parquet file has; None if it has none."""
    if symbols is None:
        return import_candles(path, store, request)
    frame = pd.read_parquet(path)
    frame = frame[frame["symbol"].isin(list(symbols))]
    if frame.empty:
        return None
    with TemporaryDirectory() as folder:
        part = Path(folder) / path.name
        frame.to_parquet(part)
        return import_candles(part, store, request)


def _instruments(real: Path, symbols: Collection[str] | None) -> list[Instrument]:
    listed = pd.read_csv(real / "symbols.csv", dtype=str)
    found = [
        Instrument(symbol=row.symbol, name=row.name_, market=Market(row.market))
        for row in listed.rename(columns={"name": "name_"}).itertuples()
    ]
    found += [
        Instrument(symbol=code, name=name, market=market)
        for code, (name, market) in MINUTE_ONLY.items()
    ]
    found += [
        Instrument(symbol=code, name=name, product=Product.ETF, leverage=leverage)
        for code, (name, leverage) in ETFS.items()
    ]
    found += [Instrument(symbol=word, product=Product.INDEX) for word in INDICES]
    return [item for item in found if symbols is None or item.symbol in symbols]

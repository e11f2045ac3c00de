"""What is written comes back; what is rearranged means the same."""

import random
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, strategies as st

from kisbt.candles.columns import VALUES, CandleColumns
from kisbt.candles.importer import import_candles
from kisbt.candles.labels import Label
from kisbt.candles.reader import ImportRequest
from kisbt.candles.resample import resample
from kisbt.candles.store import CandleStore
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import DAILY, MINUTE

SESSIONS = default_calendar().sessions(date(2010, 1, 4), date(2026, 7, 24))
MINUTES_OF_DAY = 381

_PRICES = st.one_of(
    st.integers(1, 5_000_000).map(float),
    st.floats(0.01, 5_000_000, allow_nan=False, allow_infinity=False),
)


@st.composite
def daily(draw: st.DrawFn, *, whole: bool = False) -> CandleColumns:
    """Daily candles of some sessions, halts among them."""
    picked = draw(
        st.lists(
            st.integers(0, SESSIONS.size - 1), min_size=1, max_size=12, unique=True
        )
    )
    price = st.integers(1, 5_000_000).map(float) if whole else _PRICES
    rows = []
    for _day in picked:
        low, *inner, high = sorted(draw(st.tuples(price, price, price, price)))
        open_, close = draw(st.permutations(inner))
        volume = float(draw(st.integers(0, 10**10)))
        halt = draw(st.booleans())
        rows.append(
            (0.0, 0.0, 0.0, close, volume)
            if halt
            else (open_, high, low, close, volume)
        )
    ends = default_calendar().close_times(SESSIONS[np.sort(np.array(picked))])
    return CandleColumns(ends, *np.array(rows, np.float64).T)


@st.composite
def minutes(draw: st.DrawFn) -> CandleColumns:
    """END-labelled minutes of two ordinary sessions."""
    ends = []
    for day in ("2025-09-01", "2025-09-02"):
        picked = draw(st.sets(st.integers(1, 380), min_size=1, max_size=20).map(sorted))
        number = np.array([*picked, 390])
        ends.append(np.datetime64(f"{day}T09:00:00") + number.astype("m8[m]"))
    end = np.concatenate(ends)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    low = random.integers(900, 1_000, end.size)
    high = low + random.integers(0, 100, end.size)
    inner = random.integers(low, high + 1, (2, end.size))
    return CandleColumns(
        end, inner[0], high, low, inner[1], random.integers(1, 1_000, end.size)
    )


def _same(left: CandleColumns, right: CandleColumns) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("end", *VALUES)
    )


@given(daily())
def test_written_candles_come_back_to_the_last_bit(candles: CandleColumns) -> None:
    with TemporaryDirectory() as folder:
        store = CandleStore(folder)
        store.write("005930", DAILY, candles)
        parsed = store.read("005930", DAILY, keep_silent=True)
        cached = store.read("005930", DAILY, keep_silent=True)
        traded = store.read("005930", DAILY)
    assert _same(parsed, candles)
    assert _same(cached, candles)
    assert len(traded) == int(((candles.volume > 0) & (candles.open > 0)).sum())


@given(daily(whole=True), daily(whole=True))
def test_a_merge_holds_every_candle_once(
    left: CandleColumns, right: CandleColumns
) -> None:
    both = np.union1d(left.end, right.end)
    new = left.where(~np.isin(left.end, right.end))
    with TemporaryDirectory() as folder:
        store = CandleStore(folder)
        store.write("005930", DAILY, right)
        report = store.merge({"005930": new}, DAILY)["005930"]
        merged = store.read("005930", DAILY, keep_silent=True)
    assert np.array_equal(merged.end, both)
    assert (report.added, report.kept) == (len(new), len(right))
    assert _same(merged.where(np.isin(merged.end, right.end)), right)


@given(
    daily(whole=True),
    st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y.%m.%d"]),
    st.sampled_from(["utf-8", "utf-8-sig", "cp949"]),
    st.sampled_from([",", "\t", ";"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_any_way_of_writing_imports_the_same(
    candles: CandleColumns,
    layout: str,
    encoding: str,
    delimiter: str,
    newline: str,
    grouped: bool,
    shuffle: random.Random,
) -> None:
    fields = {"일자": "", "시가": "open", "고가": "high", "저가": "low"}
    fields |= {"종가": "close", "거래량": "volume", "비고": ""}
    header = list(fields)
    shuffle.shuffle(header)
    form = "{:,.0f}" if grouped else "{:.0f}"
    lines = []
    for at, end in enumerate(candles.end.tolist()):
        cells = {"일자": end.strftime(layout), "비고": "없음"}
        for title, name in fields.items():
            if name:
                cells[title] = '"' + form.format(getattr(candles, name)[at]) + '"'
        lines.append(delimiter.join(cells[title] for title in header))
    shuffle.shuffle(lines)
    text = newline.join([delimiter.join(header), *lines]) + newline
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        path.write_bytes(text.encode(encoding))
        store = CandleStore(Path(folder) / "store")
        import_candles(path, store, ImportRequest(symbol="005930"))
        found = store.read("005930", DAILY, keep_silent=True)
    assert _same(found, candles)


@given(minutes())
def test_start_labels_and_end_labels_import_the_same(candles: CandleColumns) -> None:
    found = []
    for label, shift in ((Label.END, 0), (Label.START, 1)):
        labels = candles.end - np.timedelta64(shift, "m")
        if label is Label.START:  # the closing auction is a minute of its own
            labels = np.where(
                candles.end == candles.end.astype("M8[D]") + np.timedelta64(930, "m"),
                candles.end,
                labels,
            )
        with TemporaryDirectory() as folder:
            other = CandleStore(Path(folder) / "in")
            path = other.write(
                "005930",
                MINUTE,
                CandleColumns(labels, *(getattr(candles, name) for name in VALUES)),
            )
            store = CandleStore(Path(folder) / "store")
            request = ImportRequest(symbol="005930", interval=MINUTE, label=label)
            import_candles(path, store, request)
            found.append(store.read("005930", MINUTE))
    assert _same(found[0], candles)
    assert _same(found[1], candles)


@given(minutes(), st.integers(1, 800))
def test_resampling_loses_nothing(candles: CandleColumns, length: int) -> None:
    made = resample(candles, length)
    assert made.volume.sum() == candles.volume.sum()
    assert made.high.max() == candles.high.max()
    assert made.low.min() == candles.low.min()
    assert (made.open[0], made.close[-1]) == (candles.open[0], candles.close[-1])
    # Every candle lies in exactly one new one, of its own session.
    place = np.searchsorted(made.end, candles.end)
    assert (made.end[place] - candles.end < np.timedelta64(length, "m")).all()
    assert np.array_equal(made.sessions[place], candles.sessions)
    assert np.array_equal(np.unique(place), np.arange(len(made)))


@given(minutes())
def test_resampling_to_a_minute_changes_nothing(candles: CandleColumns) -> None:
    assert _same(resample(candles, 1), candles)

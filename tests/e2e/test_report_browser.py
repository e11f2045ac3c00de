"""The pages in a real browser: quiet, offline, and alive."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from kisbt.clock import KST
from kisbt.model.liverun import CandleChange, CandleEvent, Incident, IncidentKind
from kisbt.model.order import OrderState, OrderType, Side
from kisbt.report.compare import render_comparison
from kisbt.report.html import write_report
from kisbt.report.livefiles import LiveRun
from kisbt.report.metrics import summarise
from kisbt.report.parity_page import render_parity
from kisbt.report.parity_values import Cause, Difference, Outcome, Parity
from tests.helpers.browser import Page, chromium, find_chromium
from tests.helpers.results import make_run

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    result, charts = make_run(symbols=4, bars=1_200, nasty=True)
    summary = summarise(result)
    for language in ("ko", "en"):
        write_report(
            folder / f"{language}.html", result, summary, charts, language=language
        )
    write_report(folder / "bare.html", result, summary, {}, language="en")
    other = make_run(symbols=4, bars=1_200, seed=8)[0]
    page = render_comparison(
        result, other, (summary, summarise(other)), names=("<b>A", "B"), language="en"
    )
    (folder / "compare.html").write_text(page, encoding="utf-8")
    for language in ("ko", "en"):
        page = render_parity(result, a_live_run(), other, a_parity(), language=language)
        (folder / f"parity-{language}.html").write_text(page, encoding="utf-8")
    return folder


def a_live_run() -> LiveRun:
    moment = datetime(2010, 3, 2, 15, 30, tzinfo=KST)
    event = CandleEvent(
        at=moment, kind=CandleChange.REVISED, symbol="990001", bar=moment
    )
    incident = Incident(kind=IncidentKind.DISCONNECT, at=moment, note="<b>down</b>")
    return LiveRun(incidents=(incident,), candle_events=(event,))


def a_parity() -> Parity:
    moment = datetime(2010, 3, 2, 15, 30, tzinfo=KST)
    refused = Difference(
        cause=Cause.REFUSED,
        bar=moment,
        symbol="990001",
        side=Side.BUY,
        order_ref=7,
        expected=Outcome(
            state=OrderState.FILLED,
            type=OrderType.MARKET,
            asked=10,
            quantity=10,
            amount=100_000.0,
            fees=14.0,
            bar=moment,
        ),
        found=Outcome(
            state=OrderState.REFUSED,
            type=OrderType.LIMIT,
            asked=10,
            limit_price=9_900.0,
        ),
        note="<i>KIS</i> APBK0919",
        cost=1_234.0,
    )
    strange = replace(refused, cause=Cause.UNEXPLAINED, order_ref=None, found=None)
    return Parity(
        same=False,
        differences=(refused, strange),
        run_equity=9_990_000.0,
        backtest_equity=10_000_000.0,
        orders=(5, 6, 4),
        fills=(5, 6, 4),
        trades=(2, 3, 1),
        costs={Cause.REFUSED: 1_234.0, Cause.UNEXPLAINED: 1_234.0},
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium found: install one or set KISBT_CHROMIUM to its path")
    with chromium(path) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Page:
    browser.errors.clear()
    browser.requests.clear()
    return browser


@pytest.mark.parametrize(
    "name", ["ko", "en", "bare", "compare", "parity-ko", "parity-en"]
)
def test_a_page_is_quiet_and_offline(page: Page, pages: Path, name: str) -> None:
    url = (pages / f"{name}.html").as_uri()
    page.open(url)
    page.settle()
    assert page.errors == []
    assert page.requests == [url]
    assert page.run("document.documentElement.dataset.ready") != "failed"


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_page_says_its_language_and_escapes_names(
    page: Page, pages: Path, language: str
) -> None:
    page.open((pages / f"{language}.html").as_uri())
    assert page.run("document.documentElement.lang") == language
    assert page.run("window.hacked === undefined")
    assert "</script><script>" in page.run(
        "document.querySelector('#symbol-list li').textContent"
    )


def test_the_comparison_with_a_backtest_is_drawn(page: Page, pages: Path) -> None:
    page.open((pages / "parity-en.html").as_uri())
    page.settle()
    assert page.run("document.querySelectorAll('#plot .scatterlayer path').length")
    text = page.run("document.body.innerText")
    assert "1 of 2 differences are not explained" in text
    assert "<i>KIS</i>" in text
    page.run("document.getElementById('log').click()")
    page.settle()
    assert page.errors == []


def test_the_charts_are_drawn(page: Page, pages: Path) -> None:
    page.open((pages / "en.html").as_uri())
    assert page.run(
        "document.querySelectorAll('#equity-plot .scatterlayer path').length"
    )
    assert page.run("document.querySelectorAll('#symbol-plot .boxlayer path').length")
    assert page.run("document.querySelectorAll('#symbol-plot .points path').length")


def test_unpacked_candles_are_those_that_were_packed(page: Page, pages: Path) -> None:
    result, charts = make_run(symbols=4, bars=1_200, nasty=True)
    code = next(iter(result.instruments))
    page.open((pages / "en.html").as_uri())
    page.run("document.querySelector('#spans [data-bars=\"250\"]').click()")
    page.settle()
    trace = "document.getElementById('symbol-plot').data[0]"
    chart = charts[code]
    for name in ("open", "high", "low", "close"):
        drawn = page.run(f"Array.from({trace}.{name})")
        assert drawn == pytest.approx(getattr(chart, name)[-len(drawn) :].tolist())
    line = page.run(
        "Array.from(document.getElementById('symbol-plot').data"
        ".find((t) => t.name === 'RSI(14)').y)"
    )
    expected = chart.lines["RSI(14)"].values[-len(line) :].tolist()
    assert line == pytest.approx(expected, abs=0.01)


def test_choosing_a_symbol_draws_it(page: Page, pages: Path) -> None:
    page.open((pages / "ko.html").as_uri())
    page.run(
        "(() => { const s = document.getElementById('symbol-search');"
        " s.value = '기업3'; s.dispatchEvent(new Event('input')); })()"
    )
    assert page.run("document.querySelectorAll('#symbol-list li').length") == 1
    page.run("document.querySelector('#symbol-list li').click()")
    page.wait("document.getElementById('symbol-plot').dataset.code === '990003'")
    assert page.run("document.getElementById('symbol-title').textContent") == (
        "990003 가상기업3"
    )
    assert page.errors == []


def test_arrow_keys_move_through_the_symbols(page: Page, pages: Path) -> None:
    page.open((pages / "en.html").as_uri())
    page.run(
        "document.getElementById('symbol-list').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'ArrowDown'}))"
    )
    page.wait("document.getElementById('symbol-plot').dataset.code === '990002'")


def test_zooming_out_groups_bars_and_keeps_the_extremes(
    page: Page, pages: Path
) -> None:
    charts = make_run(symbols=4, bars=1_200, nasty=True)[1]
    page.open((pages / "en.html").as_uri())
    page.run("document.querySelector('#spans [data-bars=\"0\"]').click()")
    page.settle()
    trace = "document.getElementById('symbol-plot').data[0]"
    note = page.run("document.getElementById('symbol-note').textContent")
    size = int(note.removesuffix(" bars per candle"))
    assert size > 1
    assert page.run(f"{trace}.x.length") == math.ceil(1_200 / size)
    assert page.run(f"Math.max(...{trace}.high)") == charts["990001"].high.max()
    assert page.run(f"Math.min(...{trace}.low)") == charts["990001"].low.min()


def test_panning_fits_the_price_axis(page: Page, pages: Path) -> None:
    chart = make_run(symbols=4, bars=1_200, nasty=True)[1]["990001"]
    page.open((pages / "en.html").as_uri())
    page.run(
        "Plotly.relayout('symbol-plot', {'xaxis.range[0]': 100, 'xaxis.range[1]': 160}).then(() => 0)"
    )
    page.settle()
    low, high = page.run("document.getElementById('symbol-plot').layout.yaxis.range")
    assert low < chart.low[100:161].min()
    assert high > chart.high[100:161].max()
    assert high - low < 1.3 * (chart.high[100:161].max() - chart.low[100:161].min())
    assert page.errors == []


def test_the_equity_plot_zooms_and_changes_its_scale(page: Page, pages: Path) -> None:
    page.open((pages / "en.html").as_uri())
    page.run("document.getElementById('log').click()")
    page.settle()
    plot = "document.getElementById('equity-plot').layout"
    assert page.run(f"{plot}.yaxis.type") == "log"
    page.run(
        "Plotly.relayout('equity-plot', {'xaxis.range': [100, 200]}).then(() => 0)"
    )
    page.settle()
    assert page.run(f"{plot}.xaxis.ticktext.length") >= 3
    page.run("document.getElementById('equity-all').click()")
    page.settle()
    assert page.run(f"{plot}.xaxis.range") == [0, 1199]
    assert page.errors == []


def column(page: Page, number: int) -> list[str]:
    """Return the texts of a column of the trade table."""
    return list(
        page.run(
            "Array.from(document.querySelectorAll("
            f"'#trade-table tbody tr td:nth-child({number})'), (n) => n.textContent)"
        )
    )


def test_the_trade_table_sorts(page: Page, pages: Path) -> None:
    result = make_run(symbols=4, bars=1_200, nasty=True)[0]
    page.open((pages / "en.html").as_uri())
    head = "document.querySelector('#trade-table th[data-name=net] button')"
    page.run(f"{head}.click()")
    best = sorted((round(t.net_pnl) for t in result.trades), reverse=True)[:25]
    shown = [
        int(text.replace(",", "").replace("\u2212", "-")) for text in column(page, 9)
    ]
    assert shown == best
    page.run(f"{head}.click()")
    assert column(page, 9)[0].startswith("\u2212")
    assert (
        page.run("document.querySelector('#trade-table th[data-name=net]').ariaSort")
        == "ascending"
    )


def test_the_trade_table_filters_and_pages(page: Page, pages: Path) -> None:
    result = make_run(symbols=4, bars=1_200, nasty=True)[0]
    page.open((pages / "en.html").as_uri())
    page.run(
        "(() => { const f = document.getElementById('f-exit'); f.value = '=stop_loss';"
        " f.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    stops = [t for t in result.trades if t.exit_reason == "stop_loss"]
    assert set(column(page, 13)) == {"stop_loss"}
    state = "document.getElementById('page-state').textContent"
    assert f"of {len(stops)} trades" in page.run(state)
    page.run("document.getElementById('page-next').click()")
    assert page.run(state).startswith("26–")
    page.run(
        "(() => { const f = document.getElementById('f-result'); f.value = 'loss';"
        " f.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    losses = [t for t in stops if t.net_pnl <= 0]
    assert f"of {len(losses)} trades" in page.run(state)


def test_trades_are_copied_as_csv_without_formulas(page: Page, pages: Path) -> None:
    page.open((pages / "en.html").as_uri())
    page.run(
        "(() => { window.copied = null; Object.defineProperty(navigator, 'clipboard',"
        " {value: {writeText: async (t) => { window.copied = t; }},"
        " configurable: true}); document.getElementById('copy-csv').click(); })()"
    )
    page.wait("window.copied")
    lines = page.run("window.copied").split("\r\n")
    result = make_run(symbols=4, bars=1_200, nasty=True)[0]
    assert len(lines) == len(result.trades) + 1
    assert any(",'=bb_lower," in line for line in lines)
    assert not any(",=bb_lower" in line for line in lines)


def test_a_trade_opens_its_chart(page: Page, pages: Path) -> None:
    page.open((pages / "en.html").as_uri())
    code = column(page, 1)[0][:6]
    page.run("document.querySelector('#trade-table .symbol').click()")
    page.wait(f"document.getElementById('symbol-plot').dataset.code === '{code}'")
    page.settle()
    assert page.errors == []


def test_a_page_without_candles_says_so(page: Page, pages: Path) -> None:
    page.open((pages / "bare.html").as_uri())
    assert "no candles" in page.run(
        "document.getElementById('symbol-readout').textContent"
    )


def test_pointing_at_a_plot_reads_it_out(page: Page, pages: Path) -> None:
    page.open((pages / "en.html").as_uri())
    for plot, readout in (
        ("equity-plot", "equity-readout"),
        ("symbol-plot", "symbol-readout"),
    ):
        page.run(
            f"document.getElementById('{plot}').scrollIntoView({{behavior: 'instant'}})"
        )
        page.settle()
        before = page.run(f"document.getElementById('{readout}').textContent")
        box = page.run(
            f"(() => {{ const b = document.querySelector('#{plot} .nsewdrag')"
            ".getBoundingClientRect(); return [b.x + b.width / 3, b.y + b.height / 2];"
            " })()"
        )
        for shift in (0, 3):
            page.call(
                "Input.dispatchMouseEvent",
                type="mouseMoved",
                x=box[0] + shift,
                y=box[1],
            )
        page.settle()
        after = page.run(f"document.getElementById('{readout}').textContent")
        assert after != before
        assert after.startswith("20")
    assert page.errors == []


def test_the_wheel_zooms_the_candles(page: Page, pages: Path) -> None:
    page.open((pages / "en.html").as_uri())
    page.run(
        "document.getElementById('symbol-plot').scrollIntoView({behavior: 'instant'})"
    )
    page.settle()
    wide = "document.getElementById('symbol-plot').layout.xaxis.range"
    before = page.run(wide)
    x, y = page.run(
        "(() => { const b = document.querySelector('#symbol-plot .nsewdrag')"
        ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    page.call(
        "Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-300
    )
    page.wait(f"{wide}[1] - {wide}[0] < {before[1] - before[0]}")
    page.settle()
    assert page.errors == []

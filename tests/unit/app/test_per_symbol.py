import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from kisbt.app.backtest import backtest
from kisbt.app.per_symbol import (
    HEAD_FILE,
    PAGE_FILE,
    TABLE_FILE,
    per_symbol,
    save_per_symbol,
    symbol_outcome,
    symbol_rows,
)
from kisbt.config.schema import Config
from kisbt.errors import ConfigError, DataError, InputError
from tests.helpers.search_market import make_store, noise, search_config, trends

SYMBOLS = ["100000", "200000", "300000"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(
        tmp_path_factory.mktemp("store"),
        {"100000": trends(300, 0), "200000": noise(250, 1), "300000": noise(40, 2)},
    )


def config(store: Path, symbols: list[str], **changes: Any) -> Config:
    return search_config(store, symbols, **{"optimize": None, **changes})


def test_each_row_is_the_backtest_of_that_symbol_alone(store: Path) -> None:
    found = per_symbol(config(store, SYMBOLS), workers=1)
    for symbol, run in zip(SYMBOLS[:2], found.runs, strict=False):
        # The size of a position depends on the number of symbols in this helper.
        alone = backtest(
            config(store, [symbol], **{"strategy.params.max_position": len(SYMBOLS)})
        )
        assert run.metrics == alone.summary["metrics"]
        assert len(run.days) // 4 == alone.summary["sessions"]


def test_a_symbol_that_cannot_run_stops_nobody_else(store: Path) -> None:
    found = per_symbol(config(store, [*SYMBOLS, "999999"]), workers=1)
    assert [run.metrics is None for run in found.runs] == [False, False, True, True]
    assert "data.warmup takes 60 bars" in found.runs[2].error
    assert "no 1d candles of 999999" in found.runs[3].error
    numbers = symbol_outcome(found)
    assert (numbers["symbols"], numbers["failed"]) == (4, 2)


def test_rows_do_not_depend_on_the_number_of_workers(store: Path) -> None:
    one = per_symbol(config(store, SYMBOLS), workers=1)
    two = per_symbol(config(store, SYMBOLS), workers=2)
    assert symbol_rows(one) == symbol_rows(two)
    assert one.average is not None
    assert two.average is not None
    assert (one.average.value == two.average.value).all()


def test_average_holds_equal_shares_of_all_that_ran(store: Path) -> None:
    found = per_symbol(config(store, SYMBOLS), workers=1)
    returns = [(run.metrics or {})["total_return"] for run in found.done]
    assert found.average is not None
    assert found.average.value[-1] == pytest.approx(
        1e8 * (1 + sum(returns) / len(returns)), rel=1e-6
    )


def test_plain_engine_gives_the_same_rows(store: Path) -> None:
    fast = per_symbol(config(store, SYMBOLS), workers=1)
    plain = per_symbol(config(store, SYMBOLS), workers=1, engine="plain")
    assert symbol_rows(fast) == symbol_rows(plain)
    with pytest.raises(InputError, match="expected one of auto, fast, plain"):
        per_symbol(config(store, SYMBOLS), engine="quick")


def test_wrong_input_is_refused(store: Path) -> None:
    with pytest.raises(ConfigError, match="no such parameter"):
        per_symbol(config(store, SYMBOLS, **{"strategy.params.ma_shor": 1}))
    with pytest.raises(DataError, match="no 1d candles of 999999"):
        per_symbol(config(store, ["999999"]), workers=1)


def test_folder_has_table_page_and_numbers(tmp_path: Path, store: Path) -> None:
    found = per_symbol(config(store, SYMBOLS), workers=1)
    folder = save_per_symbol(found, tmp_path / "out", with_report=True)
    text = (folder / TABLE_FILE).read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["symbol"] for row in rows] == SYMBOLS
    head = json.loads((folder / HEAD_FILE).read_text("utf-8"))
    assert head["symbols"] == 3
    assert "invented 100000" in (folder / PAGE_FILE).read_text("utf-8")

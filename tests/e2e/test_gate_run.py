"""What the start gate tells and takes over, on whole runs."""

import json
import shutil
from datetime import datetime
from pathlib import Path

import backtrader as bt
import pytest

from kisbt.app.venue import Mode
from kisbt.candles.store import CandleStore
from kisbt.config.load import load_config
from kisbt.config.schema import Config
from kisbt.errors import SafetyRefused
from kisbt.krx.calendar import KST
from kisbt.model.candle import DAILY
from kisbt.orders.database import emergency_file
from tests.helpers.parity import PERMISSIVE
from tests.helpers.runs import CAPITAL, CONFIG, ROOT, market

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
TEN = datetime(2025, 12, 29, 10, 0, tzinfo=KST)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


def _plain(**overrides: object) -> Config:
    """Return minute bars for a strategy without parameters."""
    values = load_config(CONFIG).model_dump(mode="json", by_alias=True)
    values["strategy"]["params"] = {}
    named = {name.replace("__", "."): value for name, value in overrides.items()}
    given = {**PERMISSIVE, "report.benchmark": None, **named}
    return load_config(values, root=ROOT, overrides=given)


class Buyer(bt.Strategy):
    """Buys three shares, and ends when it has them."""

    def next(self) -> None:
        if not getattr(self, "asked", None):
            self.asked = self.buy(size=3)
        if self.position.size:
            self.env.runstop()


class Seller(bt.Strategy):
    """Sells what it has been given, and stops then."""

    def next(self) -> None:
        size = self.position.size
        self.seen = max(size, getattr(self, "seen", 0))
        if size and not getattr(self, "asked", None):
            self.asked = self.sell(size=size)
        if self.seen and not size:
            self.env.runstop()


def test_shares_named_by_adopt_are_the_strategys_own(tmp_path: Path) -> None:
    said: list[str] = []
    config = _plain(live__adopt={"990001": 7}, universe__symbols=["990001"])
    with market(tmp_path, environment="real", start=TEN) as there:
        there.emulator.set_account(
            environment="real",
            holdings={"990001": {"quantity": 12, "average": 41_000}},
        )
        finished = there.run(
            config, Mode.REHEARSAL, strategy=Seller, say=said.append, once=True
        )
        held = there.emulator.state()["real"]["account"]["holdings"]
        with there.journal(Mode.REHEARSAL) as journal:
            assert journal.positions() == ()
            assert journal.outside() == {"990001": 5}
    assert any("990001: +7 shares adopted" in text for text in said)
    assert held["990001"]["quantity"] == 5
    (fill,) = finished.result.fills
    assert fill.quantity == 7
    assert finished.result.run["starting_positions"]["990001"]["quantity"] == 7


def test_more_than_the_account_holds_is_not_adopted(tmp_path: Path) -> None:
    config = _plain(live__adopt={"990001": 7}, universe__symbols=["990001"])
    with (
        market(tmp_path, environment="real", start=TEN) as there,
        pytest.raises(SafetyRefused, match=r"990001: 7 shares .* holds 0"),
    ):
        there.run(config, Mode.REHEARSAL, strategy=Seller, once=True)


def test_own_shares_without_a_feed_are_named(tmp_path: Path) -> None:
    said: list[str] = []
    with market(tmp_path) as there:
        there.run(_plain(universe__symbols=["990001"]), strategy=Buyer)
        config = _plain(universe__symbols=["990005"])
        there.run(config, strategy=Buyer, say=said.append)
        assert there.untrue(ended=False) == []
    (told,) = [text for text in said if "outside the universe" in text]
    assert "990001 3 shares" in told


def test_an_answer_the_journal_could_not_take_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said: list[str] = []
    config = _plain(universe__symbols=["990001"])
    with market(tmp_path) as there:
        there.run(config, strategy=Buyer)
        with there.journal() as journal:
            path = journal.path
        lost = {"at": "2025-12-29T09:03:00+09:00", "ref": 4, "number": "0000000012"}
        rows = [{**lost, "journal": str(path)}, {**lost, "journal": "/other.db"}]
        lines = [json.dumps(row) + "\n" for row in rows]
        emergency_file(tmp_path).write_text("".join(lines), "utf-8")
        there.run(config, strategy=Buyer, say=said.append)
    (told,) = [text for text in said if "could not be written" in text]
    assert "ref 4, number 0000000012" in told
    assert "compare with the HTS" in told


def _many(tmp_path: Path, count: int) -> tuple[Path, list[str]]:
    codes = [f"{991_001 + number}" for number in range(count)]
    store = tmp_path / "store"
    (store / "1d").mkdir(parents=True)
    for number, code in enumerate(codes):
        source = ROOT / "data" / "1d" / f"99000{number % 5 + 1}.csv"
        shutil.copyfile(source, store / "1d" / f"{code}.csv")
    listed = "".join(f"{code},{code},KOSPI,STOCK\n" for code in codes)
    (store / "symbols.csv").write_text("symbol,name,market,product\n" + listed)
    return store, codes


class BuysAll(bt.Strategy):
    """Buys one share of everything on its first bar."""

    def next(self) -> None:
        if not getattr(self, "asked", None):
            self.asked = [self.buy(data=data, size=1) for data in self.datas]


def test_daily_symbols_beyond_forty_have_their_candles_and_orders(
    tmp_path: Path,
) -> None:
    store, codes = _many(tmp_path, 42)
    said: list[str] = []
    config = _plain(
        bars__interval="1d",
        capital=CAPITAL,
        universe__symbols=codes,
        data__path=str(store),
        data__warmup=5,
        paper__replay=str(store),
        paper__sessions=2,
    )
    with market(tmp_path, data=store, symbols=tuple(codes), interval=DAILY) as there:
        finished = there.run(config, strategy=BuysAll, say=said.append, once=True)
        assert there.untrue(ended=False) == []
    assert finished.exit_state == "done"
    (told,) = [text for text in said if text.startswith("paper | [S8]")]
    assert "40 symbols; the other 2 are not heard" in told
    assert {fill.symbol for fill in finished.result.fills} == set(codes)
    seen = CandleStore(finished.folder / "candles").read(codes[-1], DAILY)
    true = CandleStore(store).read(codes[-1], DAILY)
    days = seen.end[-2:]
    assert days.tolist() == [
        datetime(2025, 12, 29, 15, 30),
        datetime(2025, 12, 30, 15, 30),
    ]
    assert (
        seen.between(days[0], None).close.tolist()
        == true.between(days[0], days[1]).close.tolist()
    )

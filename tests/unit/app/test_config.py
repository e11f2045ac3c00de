from pathlib import Path

from kisbt.app.config import check_config
from kisbt.app.strategies import create_strategy


def project(folder: Path) -> Path:
    create_strategy("checked", folder)
    (folder / "data").mkdir()
    (folder / "data" / "symbols.csv").write_text(
        "symbol,name,market,product\n"
        + "".join(f"99000{n},이름{n},KOSPI,STOCK\n" for n in range(1, 6))
    )
    return folder / "configs" / "checked.yaml"


def test_a_sound_configuration_has_nothing_to_tell(tmp_path: Path) -> None:
    found = check_config(project(tmp_path))
    assert (found.problems, found.warnings) == ((), ())
    assert found.config is not None


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = project(tmp_path)
    text = path.read_text().replace("period:", "perod:").replace('"990001"', '"가나다"')
    path.write_text(text)
    first, second = check_config(path).problems
    assert "strategy.params.perod" in first
    assert "가나다" in second


def test_a_missing_store_is_told(tmp_path: Path) -> None:
    path = project(tmp_path)
    path.write_text(path.read_text().replace("path: data", "path: nowhere"))
    (problem,) = check_config(path).problems
    assert "data.path" in problem
    assert "nowhere does not exist" in problem


def test_sizing_warns_in_a_backtest_and_stops_paper(tmp_path: Path) -> None:
    path = project(tmp_path)
    text = path.read_text().replace("position_size: 0.2", "position_size: 0.9")
    path.write_text(text)
    found = check_config(path)
    assert found.problems == ()
    assert len(found.warnings) == 2
    path.write_text(text.replace("mode: backtest", "mode: paper"))
    assert "position_size 0.9" in check_config(path).problems[0]


def test_a_file_that_does_not_load_tells_every_line(tmp_path: Path) -> None:
    path = project(tmp_path)
    path.write_text(path.read_text() + "brokr: {}\nrisk: {max_order_pct: 0}\n")
    assert len(check_config(path).problems) == 2


def test_wrong_overrides_of_the_market_rules_are_told(tmp_path: Path) -> None:
    path = project(tmp_path)
    overrides = tmp_path / "krx_overrides.yaml"
    overrides.write_text("holidays: {add: [2027-05-06]}\n")
    assert check_config(path).problems == ()
    overrides.write_text("holiday: {add: [2027-05-06]}\n")
    assert "holiday" in check_config(path).problems[0]

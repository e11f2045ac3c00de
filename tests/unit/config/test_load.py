from datetime import date, datetime
from pathlib import Path

import pytest

from kisbt.config import config_hash, dump_config, load_config, resolve_universe
from kisbt.config.load import read_universe_file
from kisbt.errors import ConfigError
from kisbt.model.instrument import Instrument, Market, Product

BASE = """\
strategy: {class: "strategies.x:Y"}
universe: {symbols: ["005930"]}
"""
MAPPING = {"strategy": {"class": "a:B"}, "universe": {"symbols": ["005930"]}}


def write(folder: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path = folder / "run.yaml"
    path.write_bytes(text.encode(encoding))
    return path


def problem(folder: Path, text: str) -> str:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_unquoted_codes_stay_as_written(tmp_path: Path) -> None:
    text = """\
strategy: {class: a:B}
universe:
  symbols: [000660, 0001A0, 990001, 005930, 1e5001, "035720", 삼성전자]
live: {adopt: {000660: 10, 990001: 5}}
report: {benchmark: 990100}
"""
    config = load_config(write(tmp_path, text))
    assert config.universe.symbols == (
        "000660",
        "0001A0",
        "990001",
        "005930",
        "1e5001",
        "035720",
        "삼성전자",
    )
    assert config.live.adopt == {"000660": 10, "990001": 5}
    assert config.report.benchmark == "990100"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("brokr: {}", ", line 3: brokr: unknown key; did you mean broker?"),
        (
            "broker: {commision: 0}",
            ", line 3: broker.commision: unknown key; did you mean broker.commission?",
        ),
        (
            "broker:\n  rules: krx\n  tx: krx",
            ", line 5: broker.tx: unknown key; did you mean broker.tax?",
        ),
        (
            "commission: 0",
            ", line 3: commission: unknown key; did you mean broker.commission?",
        ),
        (
            "paper: {params: {}}",
            (
                ", line 3: paper.params: unknown key; strategy parameters are the same in "
                "every mode: write them under strategy.params"
            ),
        ),
        (
            "slippage: 1",
            ", line 3: slippage: unknown key; did you mean broker.slippage_ticks?",
        ),
        (
            "mode: backtets",
            ", line 3: mode: found 'backtets', expected backtest, paper or live",
        ),
        ("capital: abc", ", line 3: capital: found 'abc', expected a whole number"),
        ("capital: 10.5", ", line 3: capital: found 10.5, expected a whole number"),
        ("capital: -5", ", line 3: capital: found -5, expected 1 or more"),
        (
            "capital: true",
            ", line 3: capital: found True; expected a number, found true or false",
        ),
        ("capital: .nan", ", line 3: capital: found nan, expected a number"),
        (
            "data: {from: 2021-01-01, to: 2020-01-01}",
            ", line 3: data: from 2021-01-01 is after to 2020-01-01; swap them",
        ),
        (
            "data: {from: 2021-13-01}",
            (
                ", line 3: data.from: found '2021-13-01', "
                "expected a date such as 2020-01-31"
            ),
        ),
        (
            "data: {from: 5}",
            ", line 3: data.from: found 5; expected a date such as 2020-01-31",
        ),
        ("data: [1]", ", line 3: data: found a list, expected a block of keys"),
        (
            "data: {adjusted: maybe}",
            ", line 3: data.adjusted: found 'maybe', expected true or false",
        ),
        (
            "broker: {tax: null}",
            (
                ", line 3: broker.tax: found None; expected krx, none or a rate from 0 to "
                "0.01 (0.00015 is 0.015 %)"
            ),
        ),
        (
            "broker: {commission: 0.2}",
            (
                ", line 3: broker.commission: found 0.2; expected bankis or a rate from 0 "
                "to 0.01 (0.00015 is 0.015 %)"
            ),
        ),
        (
            "bars: {interval: 7x}",
            ", line 3: bars.interval: found '7x'; expected 1d, 1m, 5m, 15m, 30m or 60m",
        ),
        (
            "bars: {interval: 500m}",
            (
                ", line 3: bars.interval: found '500m'; longer than a session of 390 "
                "minutes; use 1d"
            ),
        ),
        (
            "risk: {max_order_pct: 250}",
            ", line 3: risk.max_order_pct: found 250, expected 100 or less",
        ),
        ("data:\n\tpath: x", ", line 4, column 1: a tab; indent with spaces"),
        (
            "capital: 1\ncapital: 2",
            ", line 4, column 1: key 'capital' is written twice; keep one",
        ),
        (
            "capital: 1: 2",
            (
                ", line 3, column 11: a colon where none may stand; check the indentation, "
                "or put the value in quotes"
            ),
        ),
        ("x: [1, 2", ", line 4, column 1: a list that is not closed with ]"),
        (
            "a: &x [1]\nb: *x",
            (
                ", line 4, column 4: aliases (*name) are not supported; "
                "write the value out"
            ),
        ),
        (
            "a: !!python/object/apply:os.system [ls]",
            (
                ", line 3, column 4: a tag "
                "(tag:yaml.org,2002:python/object/apply:os.system); plain values only"
            ),
        ),
        ("---\nx: 1", ", line 3, column 1: a second document (---); keep one"),
        (
            "capital: \x07",
            ", line 3: a control character U+0007; delete it and run again",
        ),
        (
            "capital: " + "9" * 5000,
            ": a number has too many digits; shorten it",
        ),
        ("x: " + "[" * 50, ", line 3, column 23: more than 20 levels deep"),
        (
            "mode: live",
            ": mode live needs risk.max_order_pct written out; it is missing",
        ),
    ],
)
def test_a_wrong_line_gives_one_clear_sentence(
    tmp_path: Path, lines: str, expected: str
) -> None:
    assert problem(tmp_path, f"{BASE}{lines}\n") == expected


def test_a_parameter_outside_params_is_sent_there(tmp_path: Path) -> None:
    text = BASE.replace("}\nuni", ", rsi_period: 5}\nuni")
    assert problem(tmp_path, text) == (
        ", line 1: strategy.rsi_period: unknown key; a parameter stands under "
        "strategy.params"
    )


@pytest.mark.parametrize("text", ["", "# 주석뿐\n", "---\n"])
def test_an_empty_file_points_to_init(tmp_path: Path, text: str) -> None:
    assert problem(tmp_path, text) == (
        " is empty; start from an example: kisbt init DIR"
    )


def test_a_list_is_no_configuration(tmp_path: Path) -> None:
    assert "expected keys such as" in problem(tmp_path, "- a\n- b\n")


def test_a_missing_file_names_it_and_init(tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    with pytest.raises(ConfigError, match=r"absent\.yaml does not exist.*kisbt init"):
        load_config(path)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; name a file in it"):
        load_config(tmp_path)


def test_cp949_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, f"{BASE}# 한글 주석\n", encoding="cp949")
    with pytest.raises(ConfigError, match=r"line 3: not UTF-8 but CP949"):
        load_config(path)


def test_utf16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is UTF-16; save it as UTF-8"):
        load_config(write(tmp_path, BASE, encoding="utf-16"))


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, BASE.replace("\n", "\r\n"), encoding="utf-8-sig")
    assert load_config(path).universe.symbols == ("005930",)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, BASE + "#" * 1_000_001)
    with pytest.raises(ConfigError, match="larger than 1000000 bytes"):
        load_config(path)


def test_every_problem_is_kept_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, f"{BASE}capital: x\nrisk: {{max_order_pct: 0, foo: 1}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(caught.value.problems) == 3
    assert "risk.foo" in caught.value.problems[0]
    assert caught.value.path == "risk.foo"
    assert "(2 more: kisbt config check)" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["2020-01-02", "20200102", "'2020-01-02'", "'20200102'"]
)
def test_dates_are_read_as_people_write_them(tmp_path: Path, text: str) -> None:
    config = load_config(write(tmp_path, f"{BASE}data: {{from: {text}}}\n"))
    assert config.data.from_ == date(2020, 1, 2)


def test_a_replay_may_start_at_a_minute(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, f"{BASE}paper: {{from: 2025-11-03 09:30}}\n"))
    assert config.paper.from_ == datetime(2025, 11, 3, 9, 30)


@pytest.mark.parametrize(
    ("text", "value"), [("10_000_000", 10_000_000), ("1e7", 10_000_000)]
)
def test_money_may_be_written_short(tmp_path: Path, text: str, value: int) -> None:
    assert load_config(write(tmp_path, f"{BASE}capital: {text}\n")).capital == value


@pytest.mark.parametrize(
    ("text", "value"), [("krx", "krx"), ("none", "none"), ("0.0018", 0.0018)]
)
def test_tax_is_a_word_or_a_rate(tmp_path: Path, text: str, value: str | float) -> None:
    config = load_config(write(tmp_path, f"{BASE}broker: {{tax: {text}}}\n"))
    assert config.broker.tax == value


def test_a_commented_out_block_keeps_its_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, f"{BASE}risk:\n  # max_order_pct: 5\n"))
    assert config.risk.max_order_pct == 25


def test_a_mapping_is_taken_and_not_changed() -> None:
    values = {**MAPPING, "data": {"warmup": 10}}
    config = load_config(values, overrides={"data.warmup": 20, "bars.interval": "5m"})
    assert (config.data.warmup, config.bars.length.minutes) == (20, 5)
    assert values["data"] == {"warmup": 10}
    assert config.source is None


def test_a_number_as_symbol_in_a_mapping_is_refused() -> None:
    values = {**MAPPING, "universe": {"symbols": [5930]}}
    with pytest.raises(ConfigError, match="found 5930: write codes as text"):
        load_config(values)


def test_the_project_is_above_a_configs_folder(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "data").mkdir()
    config = load_config(write(tmp_path / "configs", BASE))
    assert config.root == tmp_path
    assert config.data_path == (tmp_path / "data").resolve()


def test_the_project_is_the_folder_of_another_file(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, BASE)).root == tmp_path


def test_a_path_is_looked_for_beside_the_file_then_above_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    configs = tmp_path / "project" / "configs"
    for folder in (here, configs):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    config = load_config(write(configs, BASE))
    wanted = "list.txt"
    assert config.resolve(wanted) == configs.parent.resolve() / wanted
    for folder in (here, configs.parent, configs):
        (folder / wanted).touch()
        assert config.resolve(wanted) == folder.resolve() / wanted


def test_the_parameter_file_of_older_projects_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "trading_config.yaml").write_text(
        "strategy:\n  ma_short: 3\n  ma_long: 20\n  stop_loss: 0.03\n"
    )
    text = """\
strategy:
  class: a:B
  params_file: trading_config.yaml
  params: {ma_long: 60}
universe: {symbols: ["005930"]}
"""
    config = load_config(write(tmp_path, text))
    assert config.strategy.params == {"ma_short": 3, "ma_long": 60, "stop_loss": 0.03}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("ma_short: 3\n", "expected one block `strategy:`"),
        ("", "expected one block `strategy:`"),
        ("strategy: {a: 1}\nbroker: {}\n", "line 2: broker: unknown key"),
    ],
)
def test_another_parameter_file_is_refused(
    tmp_path: Path, content: str, expected: str
) -> None:
    (tmp_path / "p.yaml").write_text(content)
    text = BASE.replace("}\nuni", ", params_file: p.yaml}\nuni")
    assert expected in problem(tmp_path, text)


def test_krx_overrides_are_found_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "krx_overrides.yaml").write_text("holidays: {add: [2027-05-05]}\n")
    config = load_config(write(tmp_path / "configs", BASE))
    assert config.krx_overrides == {"holidays": {"add": ["2027-05-05"]}}
    assert load_config(MAPPING).krx_overrides == {}


def test_the_hash_ignores_order_and_comments_only(tmp_path: Path) -> None:
    first = load_config(write(tmp_path, f"{BASE}capital: 5000\nmode: backtest\n"))
    same = load_config(write(tmp_path, f"# note\nmode: backtest\n{BASE}capital: 5e3\n"))
    other = load_config(write(tmp_path, f"{BASE}capital: 5001\n"))
    assert config_hash(first) == config_hash(same)
    assert config_hash(first) != config_hash(other)


def test_the_hash_does_not_depend_on_spelling_out_defaults(tmp_path: Path) -> None:
    short = load_config(write(tmp_path, BASE))
    full = load_config(
        write(tmp_path, f"{BASE}risk: {{max_order_pct: 25}}\npaper: {{speed: 60}}\n")
    )
    assert config_hash(short) == config_hash(full)


def test_the_dump_masks_secrets_and_loads_again() -> None:
    config = load_config(
        {
            **MAPPING,
            "notify": {"urls": ["tgram://TOKEN/1"], "heartbeat_url": "https://x/KEY"},
        }
    )
    values = dump_config(config)
    assert values["notify"] == {
        "urls": ["tgram://***"],
        "heartbeat_url": "https://***",
    }
    values["notify"] = {}
    assert dump_config(load_config(values)) == dump_config(load_config(MAPPING))


LISTED = {
    item.symbol: item
    for item in (
        Instrument(symbol="005930", name="삼성전자"),
        Instrument(symbol="005935", name="삼성전자우"),
        Instrument(symbol="035720", name="카카오", market=Market.KOSPI),
        Instrument(symbol="111111", name="같은이름"),
        Instrument(symbol="222222", name="같은이름", market=Market.KOSDAQ),
        Instrument(symbol="KOSPI", name="코스피", product=Product.INDEX),
    )
}


def universe(symbols: list[str]) -> tuple[list[str], list[str]]:
    config = load_config({**MAPPING, "universe": {"symbols": symbols}})
    told: list[str] = []
    found = resolve_universe(config, LISTED, notice=told.append)
    return [item.symbol for item in found], told


def test_codes_and_names_are_resolved_in_order() -> None:
    found, told = universe(["카카오", "A005930", " 삼성 전자우 "])
    assert found == ["035720", "005930", "005935"]
    assert told == []


def test_a_symbol_named_twice_counts_once_with_a_notice() -> None:
    found, told = universe(["005930", "삼성전자"])
    assert found == ["005930"]
    assert "named twice" in told[0]


def test_a_code_symbols_csv_lacks_is_a_kospi_stock_with_a_notice() -> None:
    found, told = universe(["000660"])
    assert found == ["000660"]
    assert "000660 is not in symbols.csv; taken as a KOSPI stock" in told[0]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("삼성전지", "did you mean 삼성전자?"),
        ("5930", "did you mean 005930?"),
        ("zzz", "write the code"),
        ("같은이름", "is the name of 111111, 222222; write the code"),
        ("KOSPI", "is an index, which cannot be traded"),
    ],
)
def test_an_unusable_symbol_is_explained(word: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        universe([word])
    assert expected in str(caught.value)
    assert caught.value.path == "universe.symbols"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_a_list_file_has_codes_and_comments(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "target_stocks.txt"
    text = "# 관심 종목\r\n005930  # 삼성전자\r\n\r\n000660\r\n카카오\r\n"
    path.write_bytes(text.encode(encoding))
    assert read_universe_file(path) == ["005930", "000660", "카카오"]


def test_a_list_file_is_added_after_the_symbols(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("카카오\n")
    text = BASE.replace('["005930"]', "[005930], file: list.txt")
    config = load_config(write(tmp_path, text))
    assert [i.symbol for i in resolve_universe(config, LISTED)] == ["005930", "035720"]


@pytest.mark.parametrize("content", [b"", b"# nothing\n", None, b"\xff\xff\xff"])
def test_an_unusable_list_file_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"universe\.file .*list\.txt"):
        read_universe_file(path)

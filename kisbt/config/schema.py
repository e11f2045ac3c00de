"""The whole configuration as frozen pydantic models: keys, defaults, ranges.

Keys that are Python words carry an underscore here (`class_`, `from_`) and are
written without it in the file. Money is won; percentages are of the strategy's
equity.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from kisbt.config.optimize import OptimizeConfig
from kisbt.config.section import Float, Int, Section
from kisbt.errors import InputError
from kisbt.model.candle import Interval, parse_interval
from kisbt.text import _

SESSION_MINUTES = 390
"""Minutes of a regular session, 09:00 to 15:30: no bar inside it is longer."""


def _as_date(value: object) -> object:
    text = str(value).strip()
    if re.fullmatch(r"[12][0-9]{7}", text):  # 20200131, as Korean data has it
        value = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    # pydantic would read another bare number as seconds since 1970.
    if isinstance(value, int | float):
        raise ValueError(_("expected a date such as 2020-01-31"))
    if isinstance(value, datetime):
        return value.date()
    return value.strip() if isinstance(value, str) else value


def _as_moment(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError(
            _("expected a date, or a date and time such as 2025-11-03 09:00")
        )
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - naive KST
    return value.strip() if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_as_date)]
Moment = Annotated[datetime, BeforeValidator(_as_moment)]
Percent = Annotated[Float, Field(gt=0, le=100)]


class StrategyConfig(Section):
    """Which strategy runs, and its parameters: the same in every mode."""

    class_: str = Field(alias="class")
    """Where the class is: `module:Class`, for example
    strategies.ma_rsi_bollinger:MaRsiBollinger."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters by name. What is not written keeps the class's default."""
    params_file: str | None = None
    """A YAML file with one `strategy:` block of parameters; `params` above wins
    where both name one."""

    @field_validator("params")
    @classmethod
    def _check_params(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, item in value.items():
            if isinstance(item, float) and not math.isfinite(item):
                raise ValueError(
                    _("{name} is {found}; expected a finite number").format(
                        name=name, found=item
                    )
                )
        return value

    @field_validator("class_")
    @classmethod
    def _check_class(cls, value: str) -> str:
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", value):
            raise ValueError(
                _(
                    "expected module:Class such as "
                    "strategies.ma_rsi_bollinger:MaRsiBollinger"
                )
            )
        return value


class UniverseConfig(Section):
    """The symbols the strategy trades, in this order."""

    symbols: Annotated[
        tuple[str, ...],
        # An editor reads an unquoted 005930 as a number; the loader does not.
        WithJsonSchema({"type": "array", "items": {"type": ["string", "integer"]}}),
    ] = ()
    """Six-character codes or listed names; leading zeros need no quotes."""
    file: str | None = None
    """A text file, one code or name a line, `# comments` allowed; added after
    `symbols`."""

    @field_validator("symbols", mode="before")
    @classmethod
    def _check_symbols(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(_('expected a list such as ["005930", "000660"]'))
        if isinstance(value, list | tuple):
            for item in value:
                if not isinstance(item, str):
                    raise ValueError(
                        _(
                            "found {found!r}: write codes as text with their leading "
                            'zeros, such as "005930"'
                        ).format(found=item)
                    )
        return () if value is None else value

    @model_validator(mode="after")
    def _check_any(self) -> "UniverseConfig":
        if not self.symbols and not self.file:
            raise ValueError(_("names no symbol: write symbols, or file"))
        return self


class BarsConfig(Section):
    """The bars the strategy sees."""

    interval: str = "1d"
    """1d for daily bars, else minutes: 1m, 5m, 15m, 30m, 60m."""

    @field_validator("interval")
    @classmethod
    def _check_interval(cls, value: str) -> str:
        try:
            interval = parse_interval(value)
        except InputError as error:
            raise ValueError(_("expected 1d, 1m, 5m, 15m, 30m or 60m")) from error
        if interval.minutes is not None and interval.minutes > SESSION_MINUTES:
            raise ValueError(
                _("longer than a session of {limit} minutes; use 1d").format(
                    limit=SESSION_MINUTES
                )
            )
        return str(interval)

    @property
    def length(self) -> Interval:
        """The interval as a value."""
        return parse_interval(self.interval)


class DataConfig(Section):
    """The candles a backtest reads."""

    path: str = "data"
    """Folder of the candle store."""
    from_: Day | None = Field(default=None, alias="from")
    """First session that may trade; null: after the first `warmup` bars."""
    to: Day | None = None
    """Last session; null: the last one stored."""
    adjusted: bool = True
    """Daily candles adjusted for splits (1d) or as traded (1d-raw)."""
    warmup: Annotated[Int, Field(ge=0, le=10_000)] = 250
    """Bars before the first tradable one that only feed indicators."""

    @model_validator(mode="after")
    def _check_range(self) -> "DataConfig":
        if self.from_ and self.to and self.from_ > self.to:
            raise ValueError(
                _("from {first} is after to {last}; swap them").format(
                    first=self.from_, last=self.to
                )
            )
        return self


def _rate_or(*words: str) -> BeforeValidator:
    """Accept one of `words`, or a rate from 0 to `MAX_RATE` as a number."""

    def check(value: object) -> object:
        if isinstance(value, str):
            text = value.strip().lower()
            if text in words:
                return text
            try:
                value = float(text)
            except ValueError:
                value = None
        if isinstance(value, int | float) and not isinstance(value, bool):
            rate = float(value)
            if 0 <= rate <= MAX_RATE:
                return rate
        raise ValueError(
            _(
                "expected {words} or a rate from 0 to {limit} (0.00015 is 0.015 %)"
            ).format(words=", ".join(words), limit=MAX_RATE)
        )

    return BeforeValidator(check)


MAX_RATE = 0.01
"""Highest commission or tax accepted as a rate: beyond it is a slip of units."""


class BrokerConfig(Section):
    """How orders fill and what they cost."""

    rules: Literal["krx", "none"] = "krx"
    """krx: ticks, limits, one-session orders, whole won; none: plain backtrader."""
    commission: Annotated[Literal["bankis"] | float, _rate_or("bankis")] = "bankis"
    """bankis: the broker's online tariff; or a rate of the amount traded."""
    tax: Annotated[Literal["krx", "none"] | float, _rate_or("krx", "none")] = "krx"
    """krx: the transaction tax of each trade date; none; or a rate of sales."""
    slippage_ticks: Annotated[Int, Field(ge=0, le=100)] = 1
    """Ticks lost on every market and stop fill."""
    volume_share: Annotated[Float, Field(gt=0, le=1)] | None = 0.1
    """Largest share of a bar's volume one order may take; null: no cap."""
    market_orders: Literal["market", "protected"] = "market"
    """market as is; protected: a limit 3 % through the last price."""


class PaperConfig(Section):
    """Mode paper: who plays the server and what it replays."""

    server: Literal["emulator", "kis"] = "emulator"
    """emulator: on this machine, no keys; kis: the broker's mock server."""
    replay: str = "data"
    """Candle store the emulator replays."""
    from_: Moment | None = Field(default=None, alias="from")
    """Where the replay starts; null: the last `sessions` stored sessions."""
    speed: Annotated[Float, Field(ge=0)] = 60.0
    """Virtual seconds per second; 0: as fast as the run keeps up."""
    step: bool = False
    """Whether virtual time moves only when the run is idle."""
    sessions: Annotated[Int, Field(ge=1, le=1000)] = 1
    """Sessions to replay."""
    matching: Literal["candle", "tick"] = "candle"
    """How the emulator fills orders."""


class LiveConfig(Section):
    """Mode live: the broker's real server, or a rehearsal."""

    server: Literal["kis", "emulator"] = "kis"
    """kis: real money; emulator: a rehearsal of the whole live path."""
    adopt: dict[str, Annotated[Int, Field(gt=0)]] = Field(default_factory=dict)
    """Shares already in the account that the strategy takes over, by code."""
    fill_source: Literal["rest", "notice"] = "rest"
    """Which report of a fill is booked."""
    foreign: Literal["pause_symbol", "halt"] = "pause_symbol"
    """What an order of another program with the same key stops."""


class KisConfig(Section):
    """Which stored keys to use; never the keys themselves."""

    profile: str = "default"
    """Name of the set of keys."""
    data_profile: str | None = None
    """Another set for market data only; null: the same."""


class RiskConfig(Section):
    """Limits checked before every order; null switches one off.

    Limits that block entries never block a sale of the strategy's own shares.
    """

    max_order_pct: Percent | None = 25.0
    """One order, per cent of equity."""
    max_symbol_pct: Percent | None = 30.0
    """One symbol including working buys, per cent of equity."""
    max_daily_loss_pct: Percent | None = 3.0
    """Loss since the session's start that blocks entries; twice it halts."""
    max_orders_per_day: Annotated[Int, Field(ge=1)] | None = 100
    """Orders of one session."""
    max_adv_pct: Percent | None = None
    """One order, per cent of the symbol's 20-session average volume."""
    max_orders_per_minute: Annotated[Int, Field(ge=1)] | None = None
    """Orders of the strategy within a minute."""
    max_changes_per_order: Annotated[Int, Field(ge=1)] | None = None
    """Amendments and cancellations of one order."""
    max_consecutive_losses: Annotated[Int, Field(ge=1)] | None = None
    """Losing round trips in a row that pause entries for the session."""
    max_open_orders: Annotated[Int, Field(ge=1)] | None = None
    """Orders working at the same time."""


class ReportConfig(Section):
    """What the report compares with."""

    benchmark: Annotated[
        str | None, WithJsonSchema({"type": ["string", "integer", "null"]})
    ] = "KOSPI"
    """Symbol of an index in the candle store; null: none."""


class NotifyConfig(Section):
    """Messages to a person."""

    urls: tuple[str, ...] = ()
    """Addresses of apprise, one per channel; they hold secrets and are masked."""
    heartbeat_url: str | None = None
    """Address called while the run is alive."""


LIVE_RISK_KEYS = (
    "max_order_pct",
    "max_symbol_pct",
    "max_daily_loss_pct",
    "max_orders_per_day",
)
"""Limits that `mode: live` must write out: nobody trades on a default."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a configuration lies; the validation context of `Config`.

    Attributes:
        source: the file; None when made from a mapping.
        root: the project's folder, absolute.
        krx_overrides: content of `krx_overrides.yaml`.
    """

    source: Path | None
    root: Path
    krx_overrides: Mapping[str, Any] = field(default_factory=dict)


class Config(Section):
    """One run: strategy, symbols, candles, costs, limits.

    Build it with `kisbt.config.load_config`, which also knows where the file
    lies; a bare `Config(...)` resolves paths against the working directory.
    """

    mode: Literal["backtest", "paper", "live"] = "backtest"
    """Where orders go."""
    strategy: StrategyConfig
    universe: UniverseConfig
    bars: BarsConfig = Field(default_factory=BarsConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    capital: Annotated[Int, Field(ge=1, le=10**15)] = 10_000_000
    """Won; the strategy's own cash in every mode."""
    broker: BrokerConfig = Field(default_factory=BrokerConfig)
    paper: PaperConfig = Field(default_factory=PaperConfig)
    live: LiveConfig = Field(default_factory=LiveConfig)
    kis: KisConfig = Field(default_factory=KisConfig)
    risk: RiskConfig = Field(default_factory=RiskConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)
    notify: NotifyConfig = Field(default_factory=NotifyConfig)
    optimize: OptimizeConfig | None = None
    """What `kisbt optimize` and `kisbt walkforward` try; a run ignores it."""

    _source: Path | None = PrivateAttr(default=None)
    _root: Path = PrivateAttr(default_factory=Path.cwd)
    _overrides: dict[str, Any] = PrivateAttr(default_factory=dict)

    @field_validator(
        "bars",
        "data",
        "broker",
        "paper",
        "live",
        "kis",
        "risk",
        "report",
        "notify",
        mode="before",
    )
    @classmethod
    def _empty_block(cls, value: object) -> object:
        # `risk:` with every line commented out is null in YAML.
        return {} if value is None else value

    @model_validator(mode="after")
    def _check_live(self) -> "Config":
        if self.mode == "live":
            for key in LIVE_RISK_KEYS:
                if key not in self.risk.model_fields_set:
                    raise ValueError(
                        _(
                            "mode live needs risk.{key} written out; it is missing"
                        ).format(key=key)
                    )
        return self

    def model_post_init(self, context: Any, /) -> None:
        """Take over where the file lies, which `load_config` hands along."""
        if isinstance(context, Place):
            self._source = context.source
            self._root = context.root
            self._overrides = dict(context.krx_overrides)

    @property
    def source(self) -> Path | None:
        """The file it came from; None when made from a mapping."""
        return self._source

    @property
    def root(self) -> Path:
        """The project's folder: that of the file, or above it when `configs`."""
        return self._root

    @property
    def krx_overrides(self) -> dict[str, Any]:
        """Content of `krx_overrides.yaml`; empty without that file."""
        return self._overrides

    def resolve(self, path: str | Path) -> Path:
        """Return where a path of the file points to, absolute.

        Looked for in the file's folder, then the project's folder, then the
        working directory; the first that exists wins, else the project's folder.
        """
        wanted = Path(path).expanduser()
        if wanted.is_absolute():
            return wanted
        folders = [self._root, Path.cwd()]
        if self._source is not None:
            folders.insert(0, self._source.parent)
        for folder in folders:
            if (folder / wanted).exists():
                return (folder / wanted).resolve()
        return (self._root / wanted).resolve()

    @property
    def data_path(self) -> Path:
        """Folder of the candle store, absolute."""
        return self.resolve(self.data.path)


def dump_config(config: Config) -> dict[str, Any]:
    """Return the configuration as merged, as plain JSON values, secrets masked."""
    values = config.model_dump(mode="json", by_alias=True)
    if values["optimize"] is None:
        del values["optimize"]
    elif values["optimize"]["storage"]:
        # It may hold a password.
        values["optimize"]["storage"] = _mask(values["optimize"]["storage"])
    notify = values["notify"]
    notify["urls"] = [_mask(url) for url in notify["urls"]]
    if notify["heartbeat_url"]:
        notify["heartbeat_url"] = _mask(notify["heartbeat_url"])
    return values


def _mask(url: str) -> str:
    scheme, separator, _rest = url.partition("://")
    return f"{scheme}://***" if separator else "***"


def config_hash(config: Config) -> str:
    """Return the SHA-256 of the configuration as merged, in hex.

    It does not depend on the order of keys, on comments, on `optimize`, or on the
    machine.
    """
    values = config.model_dump(mode="json", by_alias=True, exclude={"optimize"})
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """Return the JSON schema that lets editors complete and check the file."""
    schema = Config.model_json_schema(by_alias=True)
    schema["title"] = "kisbt configuration"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def sizing_conflicts(config: Config) -> list[str]:
    """Return how the strategy's own sizing breaks the limits of `risk:`.

    Empty when it does not. A backtest shows them as warnings; paper and live
    refuse to start.
    """
    size = _number(config.strategy.params.get("position_size"))
    found = []
    if size is not None:
        for key in ("max_order_pct", "max_symbol_pct"):
            limit = getattr(config.risk, key)
            # 1e-9: 0.3 * 100 is 30.000000000000004.
            if limit is not None and size * 100 > limit + 1e-9:
                found.append(
                    _(
                        "strategy.params.position_size {size:g} is {percent:g} per cent of "
                        "equity, above risk.{key} {limit:g} %: every entry would be "
                        "refused; lower one or raise the other"
                    ).format(size=size, percent=size * 100, key=key, limit=limit)
                )
    return found


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None

"""What a run models and what it does not, told from the settings it used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kisbt.model.result import RunResult
from kisbt.report.metric_words import format_percent
from kisbt.text import _


class Kind(Enum):
    """What an assumption says."""

    MODELLED = "modelled"
    NOT_MODELLED = "not_modelled"
    CAREFUL = "careful"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """One sentence of the assumptions box."""

    kind: Kind
    text: str


def kind_title(kind: Kind) -> str:
    """Return the heading over the assumptions of one kind."""
    return {
        Kind.MODELLED: _("Modelled"),
        Kind.NOT_MODELLED: _("Not modelled"),
        Kind.CAREFUL: _("Read with care"),
    }[kind]


def setting(config: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Return the value at a dotted path of the merged configuration."""
    value: Any = config
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value


def assumptions(result: RunResult) -> tuple[Assumption, ...]:
    """Return what the reader must know, in the language in force."""
    config = result.run.get("config") or {}
    krx = setting(config, "broker.rules", "krx") == "krx"
    found = [
        *(_modelled(result.run, config, krx=krx)),
        *(_not_modelled(result, krx=krx)),
        *(_careful(result, config, krx=krx)),
    ]
    return tuple(Assumption(kind=kind, text=text) for kind, text in found)


def _modelled(
    run: Mapping[str, Any], config: Mapping[str, Any], *, krx: bool
) -> Iterator[tuple[Kind, str]]:
    kind = Kind.MODELLED
    yield (
        kind,
        _(
            "Decisions are made at a bar's close; orders fill at the next bar of the "
            "symbol at the earliest, market orders at its open."
        ),
    )
    warmup = run.get("warmup_bars")
    if warmup is not None:
        yield (
            kind,
            _(
                "{count} bars before the first tradable one fed the indicators only; "
                "no number on this page includes them."
            ).format(count=warmup),
        )
    if krx:
        yield from ((kind, text) for text in _exchange_rules(config))
    else:
        yield (
            Kind.CAREFUL,
            _(
                "KRX rules were off (broker.rules: none): no price steps, no daily "
                "limits, no one-session orders, no whole won, no transaction tax, no "
                "slippage, no volume cap, no risk limits, and short selling is "
                "possible. Results are those of plain backtrader, not of the Korean "
                "market."
            ),
        )
    yield from ((kind, text) for text in _commission(config))
    if krx:
        yield from ((kind, text) for text in _cost_rules(config))
        yield (
            kind,
            _(
                "Only own cash is spent and only held shares are sold: no margin, no "
                "shorts."
            ),
        )
        if run.get("interval", "1d") == "1d":
            yield (
                kind,
                _(
                    "Limits on the loss of a day never act on daily bars: an order "
                    "made at the close belongs to the next session, which has lost "
                    "nothing yet."
                ),
            )


def _exchange_rules(config: Mapping[str, Any]) -> Iterator[str]:
    yield _("Price steps and daily price limits are those of each trade date.")
    yield _(
        "A bar locked at the upper limit fills no buy and one locked at the lower "
        "limit fills no sell."
    )
    yield _("An order lives for one session; halted sessions fill nothing.")
    share = setting(config, "broker.volume_share")
    if share is None:
        yield _("An order may take any part of a bar's volume (no cap).")
    else:
        yield _(
            "One order takes at most {share} of a bar's volume; the rest waits for "
            "the session's next bar or expires."
        ).format(share=format_percent(float(share)))
    if setting(config, "broker.market_orders") == "protected":
        yield _("Market orders are sent as limit orders 3 % through the last price.")
    yield _(
        "A market buy needs cash for the upper limit price, as the broker checks it."
    )


def _commission(config: Mapping[str, Any]) -> Iterator[str]:
    commission = setting(config, "broker.commission")
    if isinstance(commission, int | float):
        yield _("Commission: {rate} of the amount of every fill.").format(
            rate=format_percent(float(commission))
        )
    elif commission is not None:
        yield _("Commission: tariff {name}, per fill.").format(name=commission)


def _cost_rules(config: Mapping[str, Any]) -> Iterator[str]:
    tax = setting(config, "broker.tax")
    if isinstance(tax, int | float):
        yield _("Transaction tax: {rate} of the amount of every sell.").format(
            rate=format_percent(float(tax))
        )
    elif tax == "none":
        yield _("Transaction tax: none.")
    elif tax is not None:
        yield _(
            "Transaction tax: by market, product and trade date (none on ETF and ETN)."
        )
    ticks = setting(config, "broker.slippage_ticks")
    if ticks:
        yield _(
            "Slippage: {count} price step(s) against every market and stop fill, "
            "within the bar's range."
        ).format(count=ticks)
    elif ticks == 0:
        yield _("Slippage: none.")


def _not_modelled(result: RunResult, *, krx: bool) -> Iterator[tuple[Kind, str]]:
    kind = Kind.NOT_MODELLED
    yield kind, _("Dividends: neither received nor taxed; buy and hold lacks them too.")
    yield (
        kind,
        _(
            "Survivorship: the universe is as given. If it was chosen by what is "
            "listed or famous today, results are too good; symbols delisted since "
            "must be in it to count."
        ),
    )
    yield (
        kind,
        _(
            "The order book: no queue for limit orders, no influence of own orders on "
            "the price, no auctions or volatility interruptions inside a bar."
        ),
    )
    yield (
        kind,
        _("Sessions other than the regular one: no pre-market, no after-market."),
    )
    yield (
        kind,
        _(
            "Settlement (T+2) does not limit buying: proceeds are spendable at once, "
            "as in a Korean cash account."
        ),
    )
    yield kind, _("Interest on cash, margin loans, and taxes on gains.")
    if krx and result.run.get("interval", "1d") == "1d":
        yield (
            kind,
            _(
                "The order of prices inside a daily bar: which of high and low came "
                "first is unknown; opening auctions count as the open."
            ),
        )


def _careful(
    result: RunResult, config: Mapping[str, Any], *, krx: bool
) -> Iterator[tuple[Kind, str]]:
    kind = Kind.CAREFUL
    if result.run.get("adjusted"):
        text = _(
            "Adjusted candles: past prices were rescaled for splits, so that they lie "
            "off the real price steps, and volumes were not. Fills keep the candle's "
            "own prices; share counts, the volume cap and slippage in price steps "
            "before a split are approximate."
        )
    else:
        text = _(
            "Raw candles: prices as they were. A split or rights issue looks like a "
            "fall or a jump, and indicators and positions take it for one."
        )
    yield kind, text
    if setting(config, "strategy.params.exits") == "on_close":
        stop = setting(config, "strategy.params.stop_loss")
        if isinstance(stop, int | float) and stop > 0:
            yield (
                kind,
                _(
                    "Exits are decided at the close and filled at the next bar: the "
                    "{stop} stop can end far lower, on a gap or over limit-down days "
                    "by any amount."
                ).format(stop=format_percent(-float(stop))),
            )
        else:
            yield (
                kind,
                _("Exits are decided at the close and filled at the next bar."),
            )
    if result.benchmark is not None:
        yield (
            kind,
            _("The benchmark is a price index: it has no dividends and no costs."),
        )
    flagged = [held for held in result.open_positions if held.flag]
    if flagged:
        yield (
            kind,
            _(
                "{count} open position(s) are valued at an old close; see the notes in "
                "their table."
            ).format(count=len(flagged)),
        )

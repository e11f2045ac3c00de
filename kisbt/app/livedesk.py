"""How the order desk of a run behaves, and where it learns the facts of the moment."""

from collections.abc import Callable
from typing import Any

from kisbt.app.calibration import own_channel
from kisbt.app.clearance import Clearance
from kisbt.app.gate import offset_allowance_s
from kisbt.app.hearing import Prices
from kisbt.app.history import LivePlan
from kisbt.app.moment import FRESH_S, MomentPrices
from kisbt.app.venue import Mode, Venue
from kisbt.config.schema import Config
from kisbt.model.account import Environment
from kisbt.model.instrument import Instrument
from kisbt.orders.deskstate import DeskSettings, DeskSources, Foreign
from kisbt.orders.guard import GuardLimits
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.ledger import FillSource, Tariff
from kisbt.orders.polling import MOCK_RATES, REAL_RATES, PollRates
from kisbt.text import _

# How far above the market a purchase with real money may go (R8).
_COLLAR_PCT = 3.0
# Where time is moved by the run, asking again and again would only cost time: a fill
# is told by a notice, and every bar asks once anyway.
_STEP_RATES = PollRates(
    working_s=3_600.0,
    idle_s=3_600.0,
    balance_s=3_600.0,
    confirm_s=1.0,
)


def desk_settings(
    config: Config, venue: Venue, plan: LivePlan, journal: Journal
) -> DeskSettings:
    """Return how the desk of a run behaves."""
    mock = venue.environment is Environment.MOCK
    rates = MOCK_RATES if mock else REAL_RATES
    keys = venue.access.keys
    return DeskSettings(
        instruments=_instruments(plan, journal),
        tariff=Tariff(
            commission=config.broker.commission,
            tax=config.broker.tax,
            tax_rows=plan.tax_rows,
        ),
        mock=mock,
        account=f"{keys.account.number}{keys.account.product}",
        fill_source=FillSource(config.live.fill_source),
        foreign=Foreign(config.live.foreign),
        own_channel=own_channel(venue.state, venue.environment),
        guard=_guard_limits(venue),
        rates=_STEP_RATES if venue.step else rates,
    )


def _guard_limits(venue: Venue) -> GuardLimits:
    live = venue.mode is Mode.LIVE
    spare_s = offset_allowance_s(venue)
    return GuardLimits(
        collar_pct=_COLLAR_PCT if live else None,
        price_age_s=FRESH_S if live else None,
        clock_offset_s=2.0 + spare_s,
        intent_age_s=3.0 + 2.0 * spare_s,
        canary_shares=1 if live else None,
        canary_won=50_000 if live else None,
    )


def _instruments(plan: LivePlan, journal: Journal) -> dict[str, Instrument]:
    """Return the universe and what earlier runs have ordered outside of it.

    Their fills are still to be booked, and their shares may still be held.
    """
    known = plan.store.instruments()
    earlier = {order.symbol for order in journal.orders()}
    earlier |= {holding.symbol for holding in journal.positions()}
    return {
        **{code: known.get(code, Instrument(symbol=code)) for code in sorted(earlier)},
        **plan.instruments,
    }


def desk_sources(
    venue: Venue, prices: Prices, clearance: Clearance, is_failing: Callable[[], bool]
) -> DeskSources:
    """Return where the desk learns what its guard has to know.

    Args:
        venue: of the run.
        prices: of the moment, as they are heard.
        clearance: to buy.
        is_failing: whether the run is ending by a mistake.
    """

    def disarmed() -> str:
        return _("the run is ending") if is_failing() else clearance.missing()

    return DeskSources(
        **_prices_for_guard(venue, prices),
        offset_s=venue.client.clock_offset_s,
        disarmed=disarmed,
        order_cap=clearance.order_cap,
    )


def _prices_for_guard(venue: Venue, prices: Prices) -> dict[str, Any]:
    """Return where the desk learns the price of the moment and the day's limits.

    Where no money can be lost nothing is asked for, so that paper trades as the
    backtest does.
    """
    if venue.mode is not Mode.LIVE:
        return {"market": prices}
    asked = MomentPrices(prices, venue.data, venue.clock, venue.calendar)
    return {"market": asked.market, "band": asked.band}


def halt_latch(venue: Venue) -> HaltLatch:
    """Return the halt latch; it also holds orders that wait for the rate."""
    latch = HaltLatch(venue.state, clock=venue.clock)
    venue.client.hold = lambda: _why_held(latch)
    return latch


def _why_held(latch: HaltLatch) -> str:
    """Return why no order may leave at this very moment; "" if it may."""
    halted = latch.raised()
    if halted is None:
        return ""
    return _("halted: {why}").format(why=halted.reason or halted.by)

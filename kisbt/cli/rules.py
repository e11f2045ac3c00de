"""`kisbt rules`: ticks, limits, costs and hours of one date."""

from datetime import date
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kisbt.cli.common import Column, print_json, print_rows, say
from kisbt.clock import SystemClock
from kisbt.errors import InputError
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.text import _

if TYPE_CHECKING:
    import typer

    from kisbt.app.rules import DayRules
    from kisbt.krx.phases import Phase


def register(app: "typer.Typer") -> None:
    """Add the command to `app`."""
    import typer

    @app.command(
        help=_("Print the exchange rules of one date: ticks, limits, costs, hours."),
        epilog=_("Example: kisbt rules --date 2026-11-19 --price 16000"),
    )
    def rules(
        day: Annotated[
            str,
            typer.Option(
                "--date", metavar="YYYY-MM-DD", help=_("Date; today if left out.")
            ),
        ] = "",
        price: Annotated[
            float | None,
            typer.Option(
                "--price", help=_("Base price in won: prints the limits of the day.")
            ),
        ] = None,
        market: Annotated[
            Market, typer.Option("--market", case_sensitive=False, help=_("Board."))
        ] = Market.KOSPI,
        product: Annotated[
            Product,
            typer.Option(
                "--product", case_sensitive=False, help=_("Kind of security.")
            ),
        ] = Product.STOCK,
        leverage: Annotated[
            float,
            typer.Option("--leverage", help=_("Daily multiple of an ETF or ETN.")),
        ] = 1.0,
        commission: Annotated[
            str,
            typer.Option("--commission", help=_("bankis, or a share such as 0.00015.")),
        ] = "bankis",
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Print JSON instead of tables."))
        ] = False,
    ) -> None:
        from kisbt.app.rules import rules_of
        from kisbt.config.load import read_krx_overrides
        from kisbt.krx.overrides import KrxOverrides

        if price is not None and not 0 < price < inf:
            raise InputError(
                _("--price {found}: expected won above zero").format(found=price)
            )
        # The user's own rows lie in the folder the command is run in.
        values = read_krx_overrides(Path.cwd() / "krx_overrides.yaml")
        found = rules_of(
            _parse_day(day),
            Instrument(symbol="", market=market, product=product, leverage=leverage),
            base_price=price,
            commission=commission,
            overrides=KrxOverrides.from_mapping(values),
        )
        if as_json:
            print_json(found.as_json())
        else:
            _print_rules(found)


def _parse_day(text: str) -> date:
    if not text:
        return SystemClock().now().date()
    try:
        found = date.fromisoformat(text.strip())
    except ValueError as error:
        raise InputError(
            _("--date {found!r}: expected a date such as 2026-11-19").format(found=text)
        ) from error
    return found


def _print_rules(found: "DayRules") -> None:
    kind = found.instrument
    say(f"{found.day} {kind.market.value} {kind.product.value}")
    say()
    _print_hours(found)
    if found.ticks:
        print_rows(
            [
                {"from": row.lower, "below": row.upper, "tick": row.tick}
                for row in found.ticks
            ],
            [
                Column("from", _("price from"), right=True, show=_won),
                Column("below", _("below"), right=True, show=_won),
                Column("tick", _("tick size"), right=True, show=_won),
            ],
            title=_("Tick sizes, won"),
        )
    _print_limit(found)
    say(
        _("Commission, each side: {rate}").format(rate=_percent(found.commission))
        + "\n"
        + _("Transaction tax, sales only: {rate}").format(rate=_percent(found.tax))
    )


def _print_hours(found: "DayRules") -> None:
    if found.opens is None or found.closes is None:
        say(
            _("The exchange is closed; the next session is {day}.").format(
                day=found.next_session
            )
        )
        say()
        return
    say(
        _("Regular session {opens} to {closes}; trades settle on {day}.").format(
            opens=f"{found.opens:%H:%M}",
            closes=f"{found.closes:%H:%M}",
            day=found.settlement,
        )
    )
    names = _phase_names()
    print_rows(
        [
            {
                "start": f"{row.span.start:%H:%M}",
                "end": f"{row.span.end:%H:%M}",
                "phase": names[row.span.phase],
                "orders": _orders(market=row.market_orders, limit=row.limit_orders),
            }
            for row in found.phases
        ],
        [
            Column("start", _("from")),
            Column("end", _("to")),
            Column("phase", _("phase")),
            Column("orders", _("orders taken")),
        ],
    )


def _print_limit(found: "DayRules") -> None:
    if found.limit is None:
        say(_("No daily price limit."))
        return
    say(_("Daily price limit: ±{pct:g} %").format(pct=round(found.limit * 100, 6)))
    if found.band is not None:
        say(
            _("Base price {base}: {lower} to {upper} won").format(
                base=_won(found.base_price),
                lower=_won(found.band.lower),
                upper=_won(found.band.upper),
            )
        )


def _phase_names() -> "dict[Phase, str]":
    from kisbt.krx.phases import Phase

    return {
        Phase.CLOSED: _("closed"),
        Phase.PRE_CLOSE_PRICE: _("at the previous close"),
        Phase.OPENING_AUCTION: _("opening auction"),
        Phase.CONTINUOUS: _("continuous trading"),
        Phase.CLOSING_AUCTION: _("closing auction"),
        Phase.POST_CLOSE_PRICE: _("at today's close"),
        Phase.SINGLE_PRICE: _("single price every ten minutes"),
        Phase.AFTER_MARKET: _("after-market"),
    }


def _orders(*, market: bool, limit: bool) -> str:
    if market:
        return _("market, limit")
    return _("limit") if limit else _("none that kisbt sends")


def _won(value: Any) -> str:
    return "" if value is None else f"{value:,.10g}" if value % 1 else f"{value:,.0f}"


def _percent(rate: Fraction) -> str:
    number = f"{float(rate * 100):.7f}".rstrip("0").rstrip(".")
    return _("{number} %").format(number=number)

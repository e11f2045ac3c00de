"""`kisbt explain`: which condition held or failed on which bar."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisbt.cli.common import DEFAULT_CONFIG, Column, print_json, print_rows, say
from kisbt.errors import InputError
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.explain import ExplainedBar, Explanation


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        name="explain",
        help=_("Show which condition held or failed for a symbol on a date."),
        epilog=_("Example: kisbt explain 990001 2024-03-05"),
    )
    def explain(
        symbol: Annotated[str, typer.Argument(help=_("Code or listed name."))],
        day: Annotated[str, typer.Argument(metavar="DATE", help=_("A session."))],
        config: Annotated[
            Path, typer.Option("--config", metavar="CONFIG", help=_("Configuration."))
        ] = DEFAULT_CONFIG,
        run: Annotated[
            str,
            typer.Option(
                "--run", metavar="RUN", help=_("Explain this run folder instead.")
            ),
        ] = "",
        data: Annotated[
            str,
            typer.Option(
                "--data",
                metavar="DIR",
                help=_("Another candle store than the file names."),
            ),
        ] = "",
        settings: Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                metavar="KEY=VALUE",
                help=_("Set a key of the file, such as strategy.params.ma_long=60."),
            ),
        ] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Print as JSON."))
        ] = False,
    ) -> None:
        from datetime import date

        from kisbt.app.explain import explain as work, explain_run
        from kisbt.config.load import load_config, parse_setting

        try:
            when = date.fromisoformat(day)
        except ValueError as error:
            raise InputError(
                _("DATE {found!r}: expected a date such as 2024-03-05").format(
                    found=day
                )
            ) from error
        overrides = dict(parse_setting(text) for text in settings or [])
        if data:
            overrides["data.path"] = data
        if run:
            from kisbt.app.backtest import config_of
            from kisbt.app.report import find_run
            from kisbt.report.folder import read_run

            folder = find_run(run)
            result = read_run(folder)
            if result.run.get("mode") != "backtest" and not overrides:
                found = explain_run(folder, symbol, when)
            else:
                found = work(config_of(result, overrides=overrides), symbol, when)
        else:
            found = work(load_config(config, overrides=overrides), symbol, when)
        if as_json:
            print_json(asdict(found))
        else:
            _show(found)


def _show(found: "Explanation") -> None:
    say(f"{found.instrument.label}  {found.day}")
    for bar in found.bars:
        _show_bar(bar)
    if not found.tells_conditions:
        say(_("The strategy has no conditions(data) method: only values are shown."))
    if not found.decisions:
        say(_("No order was made on this date."))
        last = found.bars[-1]
        if last.slots is not None and last.taken >= last.slots:
            say(
                _("All {slots} slots were taken: no symbol could be entered.").format(
                    slots=last.slots
                )
            )
    for row in found.decisions:
        say(f"{row.bar:%H:%M}  {row.action}  {row.reason}  ->  {row.result}")
    for fill in found.fills:
        say(
            _("{time:%H:%M}  filled: {side} {quantity:,} at {price:,.10g}").format(
                time=fill.time,
                side=_("buy") if fill.side == "buy" else _("sell"),
                quantity=fill.quantity,
                price=fill.price,
            )
        )


def _show_bar(bar: "ExplainedBar") -> None:
    held = (
        _("flat")
        if bar.average_price is None
        else _("{quantity:,} held at {price:,.10g}").format(
            quantity=bar.position, price=bar.average_price
        )
    )
    say(
        _("{time:%H:%M}  close {close:,.10g}, {held}").format(
            time=bar.time, close=bar.close, held=held
        )
    )
    if bar.warming_up:
        say(_("  warm-up: the strategy is not called on this bar"))
    rows = [
        {"name": name, "value": _("yes") if holds else _("no")}
        for name, holds in bar.conditions.items()
    ]
    rows += [
        {"name": name, "value": f"{value:,.10g}"}
        for name, value in bar.indicators.items()
    ]
    print_rows(rows, [Column("name", ""), Column("value", "", right=True)])

"""`kisbt show`: orders, fills, positions and status out of the journal."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from kisbt.cli.common import (
    EXIT_OK,
    Column,
    note,
    print_json,
    print_rows,
    stdout_console,
)
from kisbt.cli.halt import choice, target_words
from kisbt.errors import InputError
from kisbt.model.account import Environment
from kisbt.text import _


def _day_words() -> SimpleNamespace:
    """Return what is shared here, in the language in force."""
    return SimpleNamespace(
        day=typer.Option(
            "--date",
            metavar="DATE",
            help=_("Only this trading date, such as 2026-11-20."),
        ),
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help=_(
            "Show what kisbt did and owns, out of its journal, while a run is alive or "
            "not. Nothing is asked of the broker."
        ),
        epilog=_("Example: kisbt show status"),
        no_args_is_help=True,
    )
    app.add_typer(group, name="show")
    _add_orders(group)
    _add_fills(group)
    _add_positions(group)
    _add_status(group)


def _add_orders(group: typer.Typer) -> None:
    words = target_words()

    days = _day_words()

    @group.command(
        name="orders",
        help=_("Orders with their state; REF is what kisbt cancel takes."),
        epilog=_("Example: kisbt show orders --open"),
    )
    def orders(
        run: Annotated[str, words.run] = "",
        only_open: Annotated[
            bool, typer.Option("--open", help=_("Only those that may still fill."))
        ] = False,
        day: Annotated[str, days.day] = "",
        profile: Annotated[str, words.profile] = "",
        environment: Annotated[Environment, words.environment] = Environment.MOCK,
        emulator: Annotated[Path | None, words.emulator] = None,
        json: Annotated[bool, words.json] = False,
    ) -> None:
        from kisbt.app.show import order_rows
        from kisbt.app.targets import find_target

        target = find_target(choice(run, profile, environment, emulator))
        rows = order_rows(target, day=_date(day), only_open=only_open)
        columns = (
            Column("ref", _("REF"), right=True),
            Column("created", _("created")),
            Column("symbol", _("symbol")),
            Column("side", _("side")),
            Column("type", _("type")),
            Column("quantity", _("quantity"), right=True, show=_count),
            Column("limit_price", _("limit"), right=True, show=_count),
            Column("state_text", _("state")),
            Column("filled_quantity", _("filled"), right=True, show=_count),
            Column("average_price", _("average"), right=True, show=_price),
            Column("broker_order_no", _("broker's no.")),
            Column("note", _("note")),
        )
        print_rows(rows, columns, as_json=json)
        if not rows and not json:
            note(_("no orders"))


def _add_fills(group: typer.Typer) -> None:
    words = target_words()

    days = _day_words()

    @group.command(
        name="fills",
        help=_("Fills as booked, with fees and who vouches for them."),
        epilog=_("Example: kisbt show fills --date 2026-11-20"),
    )
    def fills(
        run: Annotated[str, words.run] = "",
        day: Annotated[str, days.day] = "",
        profile: Annotated[str, words.profile] = "",
        environment: Annotated[Environment, words.environment] = Environment.MOCK,
        emulator: Annotated[Path | None, words.emulator] = None,
        json: Annotated[bool, words.json] = False,
    ) -> None:
        from kisbt.app.show import fill_rows
        from kisbt.app.targets import find_target

        target = find_target(choice(run, profile, environment, emulator))
        rows = fill_rows(target, day=_date(day))
        columns = (
            Column("time", _("time")),
            Column("symbol", _("symbol")),
            Column("side", _("side")),
            Column("quantity", _("quantity"), right=True, show=_count),
            Column("price", _("price"), right=True, show=_price),
            Column("commission", _("commission"), right=True, show=_count),
            Column("tax", _("tax"), right=True, show=_count),
            Column("order_ref", _("order"), right=True),
            Column("confirmed_by", _("confirmed by")),
        )
        print_rows(rows, columns, as_json=json)
        if not rows and not json:
            note(_("no fills"))


def _add_positions(group: typer.Typer) -> None:
    words = target_words()

    @group.command(
        name="positions",
        help=_(
            "Shares: kisbt's own, and the account's others as last seen (those are "
            "never sold)."
        ),
        epilog=_("Example: kisbt show positions"),
    )
    def positions(
        run: Annotated[str, words.run] = "",
        profile: Annotated[str, words.profile] = "",
        environment: Annotated[Environment, words.environment] = Environment.MOCK,
        emulator: Annotated[Path | None, words.emulator] = None,
        json: Annotated[bool, words.json] = False,
    ) -> None:
        from kisbt.app.show import position_rows
        from kisbt.app.targets import find_target

        target = find_target(choice(run, profile, environment, emulator))
        rows = position_rows(target)
        columns = (
            Column("symbol", _("symbol")),
            Column("own", _("own"), right=True, show=_count),
            Column("average", _("average"), right=True, show=_price),
            Column("external", _("not kisbt's"), right=True, show=_count),
            Column("frozen", _("frozen")),
        )
        print_rows(rows, columns, as_json=json)
        if not rows and not json:
            note(_("no positions"))


def _add_status(group: typer.Typer) -> None:
    words = target_words()

    @group.command(
        name="status",
        help=_("Is a run alive, is it halted, what needs a person."),
        epilog=_("Example: kisbt show status"),
    )
    def status(
        run: Annotated[str, words.run] = "",
        profile: Annotated[str, words.profile] = "",
        environment: Annotated[Environment, words.environment] = Environment.MOCK,
        emulator: Annotated[Path | None, words.emulator] = None,
        json: Annotated[bool, words.json] = False,
    ) -> int:
        from kisbt.app.show import status_lines
        from kisbt.app.targets import find_target

        lines = status_lines(find_target(choice(run, profile, environment, emulator)))
        if json:
            print_json(
                [
                    {"name": line.name, "text": line.text, "urgent": line.urgent}
                    for line in lines
                ]
            )
            return EXIT_OK
        console = stdout_console()
        for line in lines:
            console.print(
                f"{line.name}: {line.text}",
                style="bold red" if line.urgent else None,
                markup=False,
            )
        return EXIT_OK


def _date(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            _("--date {found!r}: expected a date such as 2026-11-20").format(found=text)
        ) from error


def _count(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def _price(value: Any) -> str:
    return "" if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")

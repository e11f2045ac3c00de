"""`kisbt data fetch`: history from KIS into the candle store."""

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisbt.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    Column,
    print_rows,
    progress,
    say,
    warn,
)
from kisbt.errors import InputError
from kisbt.model.account import Environment
from kisbt.model.candle import DAILY, MINUTE, parse_interval
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.connect import Access
    from kisbt.app.fetch import Fetched
    from kisbt.krx.calendar import KrxCalendar

DATA = Path("data")


def register(app: typer.Typer) -> None:
    """Add the command to `kisbt data`."""
    group = _data_group(app)

    @group.command(
        name="fetch",
        help=_(
            "Fetch what the store lacks from KIS: daily candles since 2014, or the "
            "minutes of the last sessions. Goes on where it stopped, keeps to the "
            "rate limit, and fetches adjusted prices anew when a split changed them."
        ),
        epilog=_("Example: kisbt data fetch 005930 000660 --from 2020-01-01"),
    )
    def fetch(
        symbols: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[SYMBOL]...", help=_("Codes, names, or KOSPI and KOSDAQ.")
            ),
        ] = None,
        config: Annotated[
            Path | None,
            typer.Option("--config", metavar="FILE", help=_("Take its universe.")),
        ] = None,
        interval: Annotated[
            str, typer.Option("--interval", metavar="1d|1m", help=_("Which candles."))
        ] = "1d",
        raw: Annotated[
            bool,
            typer.Option("--raw", help=_("Daily candles not adjusted for splits.")),
        ] = False,
        first: Annotated[
            datetime | None,
            typer.Option(
                "--from",
                metavar="DATE",
                formats=["%Y-%m-%d", "%Y%m%d"],
                help=_("First session."),
            ),
        ] = None,
        last: Annotated[
            datetime | None,
            typer.Option(
                "--to",
                metavar="DATE",
                formats=["%Y-%m-%d", "%Y%m%d"],
                help=_("Last session; a session still open is left out."),
            ),
        ] = None,
        data: Annotated[
            Path, typer.Option("--data", metavar="DIR", help=_("The candle store."))
        ] = DATA,
        names: Annotated[
            bool,
            typer.Option(
                "--names", help=_("Also bring names and markets into symbols.csv.")
            ),
        ] = False,
        profile: Annotated[
            str, typer.Option("--profile", metavar="NAME", help=_("Which keys."))
        ] = "default",
        environment: Annotated[
            Environment,
            typer.Option("--environment", help=_("Server of these keys.")),
        ] = Environment.MOCK,
        emulator: Annotated[
            Path | None,
            typer.Option(
                "--emulator",
                metavar="FILE",
                help=_("Fetch from an emulator; FILE is its ready file."),
            ),
        ] = None,
        json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> int:
        from kisbt.app.fetch import FetchRequest, fetch_history, fetch_symbols

        length = parse_interval(interval)
        if length not in {DAILY, MINUTE}:
            raise InputError(
                _(
                    "--interval {found}: KIS has 1d and 1m; others are made of them"
                ).format(found=interval)
            )
        codes = _codes(symbols or (), config, data)
        access = _access(profile, environment, emulator)
        if names:
            found = fetch_symbols(data, codes)
            say(_("{count} symbols in symbols.csv").format(count=len(found)))
        request = FetchRequest(
            symbols=codes,
            interval=length,
            adjusted=not raw,
            first=_day(first),
            last=_day(last),
        )
        with progress(_("Fetching"), 1000) as advance:
            rows = fetch_history(
                request,
                access,
                data,
                calendar=_calendar(),
                on_progress=lambda done, total, symbol: advance(
                    1000 * done // total, _("Fetching {symbol}").format(symbol=symbol)
                ),
            )
        _print(rows, as_json=json)
        return EXIT_FAILED if any(row.problem for row in rows) else EXIT_OK


def _data_group(app: typer.Typer) -> typer.Typer:
    """Return the group `kisbt data`, made elsewhere or here."""
    for known in app.registered_groups:
        if known.name == "data" and known.typer_instance is not None:
            return known.typer_instance
    group = typer.Typer(
        help=_("Bring candles in, check and list them."),
        epilog=_("Example: kisbt data fetch 005930"),
        no_args_is_help=True,
    )
    app.add_typer(group, name="data")
    return group


def _codes(
    symbols: "list[str] | tuple[()]", config: Path | None, data: Path
) -> tuple[str, ...]:
    from kisbt.candles.store import CandleStore

    store = CandleStore(data)
    found = [store.find(text) for text in symbols]
    if config is not None:
        from kisbt.config import load_config
        from kisbt.config.load import resolve_universe

        universe = resolve_universe(
            load_config(config), store.instruments(), notice=warn
        )
        found += [item.symbol for item in universe]
    if not found:
        raise InputError(
            _("no symbol: name some, or a configuration with --config FILE")
        )
    return tuple(dict.fromkeys(found))


def _access(profile: str, environment: Environment, emulator: Path | None) -> "Access":
    from kisbt.app.connect import emulator_access, kis_access

    if emulator is not None:
        return emulator_access(emulator, environment)
    return kis_access(profile, environment)


def _calendar() -> "KrxCalendar":
    from kisbt.config.load import read_krx_overrides
    from kisbt.krx.overrides import KrxOverrides

    return KrxOverrides.from_mapping(
        read_krx_overrides(Path.cwd() / "krx_overrides.yaml")
    ).calendar()


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _print(rows: "tuple[Fetched, ...]", *, as_json: bool) -> None:
    table = []
    for row in rows:
        report = row.report
        table.append(
            {
                "symbol": row.symbol,
                "pages": report.pages if report else None,
                "added": report.added if report else None,
                "replaced": report.replaced if report else None,
                "first": report.first if report else None,
                "last": report.last if report else None,
                "rebased": report.rebased if report else None,
                "empty_sessions": report.empty_sessions if report else None,
                "problem": row.problem,
            }
        )
    columns = (
        Column("symbol", _("symbol")),
        Column("first", _("first")),
        Column("last", _("last")),
        Column("added", _("new"), right=True),
        Column("replaced", _("replaced"), right=True),
        Column("empty_sessions", _("sessions without a row"), right=True),
        Column("problem", _("problem")),
    )
    print_rows(table, columns, as_json=as_json)
    for row in rows:
        if row.report is not None and row.report.rebased:
            warn(
                _(
                    "{symbol}: its adjusted past has changed (a split or rights "
                    "issue), so all of it was fetched anew"
                ).format(symbol=row.symbol)
            )

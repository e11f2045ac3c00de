"""`kisbt data`: import, check, ls."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kisbt.cli.common import Column, print_json, print_rows, progress, say, warn
from kisbt.errors import InputError
from kisbt.model.candle import parse_interval
from kisbt.model.instrument import Market, Product
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.data import StoredRow
    from kisbt.candles.importer import ImportReport
    from kisbt.candles.quality import Quality
    from kisbt.candles.reader import FileReport
    from kisbt.krx.overrides import KrxOverrides

DATA = Path("data")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help=_("Bring candles in, check and list them."),
        epilog=_("Example: kisbt data import 005930.csv --symbol 005930"),
        no_args_is_help=True,
    )
    app.add_typer(group, name="data")
    _add_import(group)
    _add_check(group)
    _add_ls(group)


def _add_import(group: typer.Typer) -> None:
    @group.command(
        name="import",
        help=_(
            "Import candles from a CSV or Parquet file, or a folder of CODE.csv. Korean "
            "or English headers, UTF-8 or CP949, any order; nothing is written unless "
            "every row is sound."
        ),
        epilog=_(
            "Example: kisbt data import 402340_1m.csv --symbol 402340 --interval 1m "
            "--label start"
        ),
    )
    def import_(
        file: Annotated[
            Path, typer.Argument(metavar="FILE", help=_("A file, or a folder."))
        ],
        symbol: Annotated[
            str,
            typer.Option(
                "--symbol",
                metavar="CODE",
                help=_("Whose candles they are; not needed with a symbol column."),
            ),
        ] = "",
        interval: Annotated[
            str, typer.Option("--interval", metavar="1d|1m|5m", help=_("Their length."))
        ] = "1d",
        label: Annotated[
            str,
            typer.Option(
                "--label",
                metavar="start|end",
                help=_(
                    "What the time of a minute candle names; found out if possible."
                ),
            ),
        ] = "",
        raw: Annotated[
            bool,
            typer.Option("--raw", help=_("Daily candles not adjusted for splits.")),
        ] = False,
        data: Annotated[
            Path, typer.Option("--data", metavar="DIR", help=_("The candle store."))
        ] = DATA,
        replace: Annotated[
            bool,
            typer.Option("--replace", help=_("Take the new where stored ones differ.")),
        ] = False,
        allow_inconsistent: Annotated[
            bool,
            typer.Option(
                "--allow-inconsistent",
                help=_("Widen high and low to contain open and close, however far."),
            ),
        ] = False,
        skip_outside: Annotated[
            bool,
            typer.Option(
                "--skip-outside",
                help=_("Leave out rows outside the regular sessions."),
            ),
        ] = False,
        name: Annotated[
            str, typer.Option("--name", help=_("Its name, for symbols.csv."))
        ] = "",
        market: Annotated[
            Market | None,
            typer.Option("--market", case_sensitive=False, help=_("Its board.")),
        ] = None,
        product: Annotated[
            Product | None,
            typer.Option(
                "--product", case_sensitive=False, help=_("What kind of security.")
            ),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> None:
        from kisbt.app.data import import_file, import_json
        from kisbt.candles.labels import Label
        from kisbt.candles.reader import ImportRequest

        if label not in {"", *Label}:
            raise InputError(
                _("--label {found!r}: expected start or end").format(found=label)
            )
        request = ImportRequest(
            interval=parse_interval(interval),
            symbol=symbol,
            adjusted=not raw,
            label=Label(label) if label else None,
            replace=replace,
            allow_inconsistent=allow_inconsistent,
            skip_outside=skip_outside,
            name=name or None,
            market=market,
            product=product,
        )
        with progress(_("Importing"), 100) as advance:
            report = import_file(
                file,
                data,
                request,
                overrides=_overrides(),
                on_progress=lambda share: advance(int(share * 100)),
            )
        if as_json:
            print_json(import_json(report))
        else:
            _print_import(report)


def _add_check(group: typer.Typer) -> None:
    @group.command(
        name="check",
        help=_(
            "Print the coverage of stored candles and everything odd about them. "
            "Findings are no failure."
        ),
        epilog=_("Example: kisbt data check 005930 --interval 1m"),
    )
    def check(
        symbols: Annotated[
            list[str] | None,
            typer.Argument(metavar="[SYMBOL]...", help=_("Codes or names; else all.")),
        ] = None,
        interval: Annotated[
            str, typer.Option("--interval", metavar="1d|1m", help=_("Which candles."))
        ] = "1d",
        raw: Annotated[
            bool, typer.Option("--raw", help=_("The daily candles not adjusted."))
        ] = False,
        data: Annotated[
            Path, typer.Option("--data", metavar="DIR", help=_("The candle store."))
        ] = DATA,
        as_json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> None:
        from kisbt.app.data import check_data, quality_json

        with progress(_("Checking"), 100) as advance:
            found = check_data(
                data,
                symbols or (),
                interval=parse_interval(interval),
                adjusted=not raw,
                overrides=_overrides(),
                on_progress=lambda share: advance(int(share * 100)),
            )
        if as_json:
            print_json([quality_json(quality) for quality in found])
        else:
            _print_quality(found)


def _add_ls(group: typer.Typer) -> None:
    @group.command(
        name="ls",
        help=_("List the stored candles."),
        epilog=_("Example: kisbt data ls --data data"),
    )
    def ls(
        data: Annotated[
            Path, typer.Option("--data", metavar="DIR", help=_("The candle store."))
        ] = DATA,
        as_json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> None:
        from kisbt.app.data import list_data

        with progress(_("Reading"), 100) as advance:
            rows = list_data(data, on_progress=lambda share: advance(int(share * 100)))
        if as_json:
            print_json([row.as_json() for row in rows])
        else:
            _print_rows(rows)


def _overrides() -> "KrxOverrides":
    """Return the user's own calendar, from the folder the command is run in."""
    from kisbt.config.load import read_krx_overrides
    from kisbt.krx.overrides import KrxOverrides

    return KrxOverrides.from_mapping(
        read_krx_overrides(Path.cwd() / "krx_overrides.yaml")
    )


def _print_import(report: "ImportReport") -> None:
    for file in report.files:
        say(_file_line(file))
    if len({tuple(file.columns.items()) for file in report.files}) == 1:
        _print_columns(report.files[0])
    for path in report.skipped_files:
        warn(_("{path}: not read, its name is no code").format(path=path))
    print_rows(
        [
            {
                "symbol": row.symbol,
                "first": row.first,
                "last": row.last,
                "rows": row.rows,
                "added": row.merge.added,
                "same": row.merge.same,
                "replaced": row.merge.replaced,
                "file": row.merge.path,
            }
            for row in report.symbols
        ],
        [
            Column("symbol", _("symbol")),
            Column("first", _("first"), show=_time),
            Column("last", _("last"), show=_time),
            Column("rows", _("candles"), right=True, show=_count),
            Column("added", _("new"), right=True, show=_count),
            Column("same", _("already there"), right=True, show=_count),
            Column("replaced", _("replaced"), right=True, show=_count),
            Column("file", _("file")),
        ],
    )
    for text in report.warnings:
        warn(text)


def _file_line(file: "FileReport") -> str:
    order = {
        "oldest first": _("oldest first"),
        "newest first": _("newest first"),
        "mixed": _("in no order"),
    }
    parts = [_("{count:,} rows").format(count=file.rows), order[file.order]]
    if file.encoding:
        parts.insert(0, file.encoding)
    if file.label is not None:
        how = _("as given") if file.label_given else _("found out")
        parts.append(
            _("times name the {label} ({how})").format(label=file.label, how=how)
        )
    notes = (
        (file.halts, _("{count:,} halts kept")),
        (file.silent, _("{count:,} rows without volume kept")),
        (file.joined, _("{count:,} rows joined with another at the close")),
        (file.skipped, _("{count:,} rows outside the sessions left out")),
    )
    parts += [text.format(count=count) for count, text in notes if count]
    if file.widened:
        parts.append(
            _(
                "high or low of {count:,} candles widened, by {won:g} won at most"
            ).format(count=file.widened, won=file.widest)
        )
    return f"{file.path}: {', '.join(parts)}"


def _print_columns(file: "FileReport") -> None:
    used = ", ".join(f"{field} ← {header}" for field, header in file.columns.items())
    say(_("  columns: {used}").format(used=used))
    if file.ignored:
        say(_("  not used: {ignored}").format(ignored=", ".join(file.ignored)))


def _print_quality(found: Iterable["Quality"]) -> None:
    rows: list[dict[str, Any]] = []
    for quality in found:
        state: dict[str, Any] = {
            "symbol": quality.instrument.label,
            "first": quality.first,
            "last": quality.last,
            "rows": quality.rows,
        }
        for finding in quality.findings:
            mark = "" if finding.harmless else "! "
            rows.append(
                {
                    **state,
                    "count": finding.count,
                    "from": finding.first,
                    "what": mark + finding.detail,
                }
            )
            state = {}
        if state:
            rows.append({**state, "what": _("nothing odd")})
    print_rows(
        rows,
        [
            Column("symbol", _("symbol")),
            Column("first", _("first"), show=_time),
            Column("last", _("last"), show=_time),
            Column("rows", _("rows"), right=True, show=_count),
            Column("count", _("count"), right=True, show=_count),
            Column("from", _("from"), show=_time),
            Column("what", _("what")),
        ],
    )
    say(_("! needs a look; the rest is usual on good candles"))


def _print_rows(rows: Iterable["StoredRow"]) -> None:
    print_rows(
        [
            {
                "symbol": row.instrument.symbol,
                "name": row.instrument.name,
                "market": row.instrument.market.value,
                "product": row.instrument.product.value,
                "interval": row.kind,
                "first": row.first,
                "last": row.last,
                "rows": row.rows,
                "problem": row.problem,
            }
            for row in rows
        ],
        [
            Column("symbol", _("symbol")),
            Column("name", _("name")),
            Column("market", _("market")),
            Column("product", _("product")),
            Column("interval", _("interval")),
            Column("first", _("first"), show=_time),
            Column("last", _("last"), show=_time),
            Column("rows", _("rows"), right=True, show=_count),
            Column("problem", ""),
        ],
    )


def _time(value: object) -> str:
    return "" if value is None else str(value).replace("T", " ")


def _count(value: object) -> str:
    return "" if value is None else f"{value:,}"

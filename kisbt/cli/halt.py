"""`kisbt halt`, `unhalt`, `stop` and `cancel`: from a second terminal."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import typer

from kisbt.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    Column,
    note,
    print_json,
    print_rows,
    say,
)
from kisbt.errors import InputError, SafetyRefused
from kisbt.model.account import Environment
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.halt import HaltReport
    from kisbt.app.targets import Choice, Target


def target_words() -> SimpleNamespace:
    """Return what these commands share, in the language in force."""
    return SimpleNamespace(
        run=typer.Argument(
            metavar="[RUN]",
            help=_(
                "Which living run, by its id, mode or profile; not needed for one alone."
            ),
            show_default=False,
        ),
        profile=typer.Option(
            "--profile", metavar="NAME", help=_("An account by its keys, alive or not.")
        ),
        environment=typer.Option("--environment", help=_("Server of these keys.")),
        emulator=typer.Option(
            "--emulator",
            metavar="FILE",
            help=_("An emulator that runs by itself, by its ready file."),
        ),
        give_up=typer.Option(
            "--give-up",
            metavar="S",
            min=0.0,
            help=_("Seconds after which what is still open is left to you."),
        ),
        json=typer.Option("--json", help=_("Print JSON.")),
        config=typer.Option(
            "--config",
            metavar="FILE",
            help=_("Configuration that says what trades cost; that of the living run."),
        ),
    )


def choice(
    run: str, profile: str, environment: Environment, emulator: Path | None
) -> "Choice":
    """Return what a command line names."""
    from kisbt.app.targets import Choice

    return Choice(run=run, profile=profile, environment=environment, emulator=emulator)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _add_halt(app)
    _add_sell_all(app)
    _add_unhalt(app)
    _add_stop(app)
    _add_cancel(app)
    _add_reconcile(app)


def _add_halt(app: typer.Typer) -> None:
    words = target_words()

    @app.command(
        name="halt",
        help=_(
            "Stop everything: nothing more is sent, and own open orders are cancelled "
            "until the broker shows none. Positions are kept, orders of others are "
            "not touched. Works while the run hangs, and survives restarts until "
            "kisbt unhalt. Without a name it halts every living run."
        ),
        epilog=_("Example: kisbt halt"),
    )
    def halt(
        run: Annotated[str, words.run] = "",
        reason: Annotated[
            str, typer.Option("--reason", metavar="TEXT", help=_("For the record."))
        ] = "",
        give_up_s: Annotated[float, words.give_up] = 120.0,
        profile: Annotated[str, words.profile] = "",
        environment: Annotated[Environment, words.environment] = Environment.MOCK,
        emulator: Annotated[Path | None, words.emulator] = None,
        json: Annotated[bool, words.json] = False,
    ) -> int:
        from kisbt.app.halt import cancel_own, raise_latch
        from kisbt.app.targets import find_targets

        targets = find_targets(choice(run, profile, environment, emulator))
        why = reason or _("by hand: kisbt halt")
        # Every latch before the first cancellation: the other runs must not wait.
        raised = [
            raise_latch(target, reason=why, by="command", tell=note)
            for target in targets
        ]
        reports = [
            cancel_own(target, by="halt", tell=note, give_up_s=give_up_s)
            for target in targets
        ]
        return show_reports(targets, reports, raised, as_json=json)


def show_reports(
    targets: "tuple[Target, ...]",
    reports: "list[HaltReport]",
    raised: list[bool],
    *,
    as_json: bool,
) -> int:
    """Print what halts have done; 1 unless the broker showed nothing open."""
    from kisbt.app.watchdog import report_lines

    rows = []
    for target, report, new in zip(targets, reports, raised, strict=True):
        rows.append(
            {
                "run": target.name,
                "halted": True,
                "raised": new,
                "cancelled": list(report.cancelled),
                "left": list(report.left),
                "complete": report.complete,
                "problems": list(report.problems),
            }
        )
        if not as_json:
            for line in report_lines(report):
                say(f"{target.name}: {line}")
    if as_json:
        print_json(rows)
    done = all(report.complete for report in reports)
    return EXIT_OK if done else EXIT_FAILED


def _add_sell_all(app: typer.Typer) -> None:
    words = target_words()

    @app.command(
        name="sell-all",
        help=_(
            "Halt, then sell at the market every share kisbt has bought. Other shares "
            "of the account are not touched. Asks for a phrase."
        ),
        epilog=_("Example: kisbt sell-all"),
    )
    def sell_all(
        run: Annotated[str, words.run] = "",
        config: Annotated[Path | None, words.config] = None,
        profile: Annotated[str, words.profile] = "",
        environment: Annotated[Environment, words.environment] = Environment.MOCK,
        emulator: Annotated[Path | None, words.emulator] = None,
        json: Annotated[bool, words.json] = False,
    ) -> int:
        from kisbt.app import byhand
        from kisbt.app.halt import halt as halt_account
        from kisbt.app.show import position_rows
        from kisbt.app.targets import find_target

        target = find_target(choice(run, profile, environment, emulator))
        loaded = byhand.config_of(target, config)
        owned = [row for row in position_rows(target) if row["own"]]
        for row in owned:
            note(
                _("{symbol}: {count:,} shares of kisbt's").format(
                    symbol=row["symbol"], count=row["own"]
                )
            )
        digits = target.find_access().keys.account.number[-4:]
        require_typed(f"SELL ALL {digits}", money=target.is_money)
        why = _("by hand: kisbt sell-all")
        report = halt_account(target, reason=why, by="command", tell=note)
        if not report.complete:
            show_reports((target,), [report], [report.raised], as_json=False)
            raise SafetyRefused(
                _("own orders are still open; nothing was sold. Repeat: kisbt sell-all")
            )
        sales = byhand.sell_all(target, loaded, tell=note)
        rows = [
            {
                "symbol": sale.symbol,
                "wanted": sale.wanted,
                "sold": sale.sold,
                "problem": sale.problem,
            }
            for sale in sales
        ]
        columns = (
            Column("symbol", _("symbol")),
            Column("wanted", _("shares"), right=True),
            Column("sold", _("sold"), right=True),
            Column("problem", _("problem")),
        )
        print_rows(rows, columns, as_json=json)
        done = all(sale.sold == sale.wanted for sale in sales)
        return EXIT_OK if done else EXIT_FAILED


def _add_unhalt(app: typer.Typer) -> None:
    words = target_words()

    @app.command(
        name="unhalt",
        help=_(
            "Allow sending again after a halt. Shows why it was halted and asks for a "
            "phrase; look at kisbt show status first."
        ),
        epilog=_("Example: kisbt unhalt --profile default --environment mock"),
    )
    def unhalt(
        run: Annotated[str, words.run] = "",
        profile: Annotated[str, words.profile] = "",
        environment: Annotated[Environment, words.environment] = Environment.MOCK,
        emulator: Annotated[Path | None, words.emulator] = None,
    ) -> int:
        from kisbt.app.targets import find_target

        target = find_target(choice(run, profile, environment, emulator))
        halted = target.latch.raised()
        if halted is None:
            say(_("{name} is not halted").format(name=target.name))
            return EXIT_OK
        when = halted.at.isoformat(timespec="seconds") if halted.at else "?"
        note(
            _("{name} was halted at {when} by {by}: {why}").format(
                name=target.name, when=when, by=halted.by, why=halted.reason or "?"
            )
        )
        digits = target.find_access().keys.account.number[-4:]
        require_typed(f"UNHALT {digits}", money=target.is_money)
        target.latch.clear()
        say(_("{name}: orders may be sent again").format(name=target.name))
        return EXIT_OK


def require_typed(wanted: str, *, money: bool) -> str:
    """Ask a person to type a phrase, and return it.

    Args:
        wanted: the phrase.
        money: it is about real money: only a terminal will do, no pipe.

    Raises:
        SafetyRefused: there is no terminal.
        InputError: something else was typed.
    """
    if money and not sys.stdin.isatty():
        raise SafetyRefused(
            _(
                "this is about real money and must be typed at a terminal by a person; "
                "nothing was done"
            )
        )
    print(
        _("type {wanted!r} to go on: ").format(wanted=wanted), end="", file=sys.stderr
    )
    sys.stderr.flush()
    typed = sys.stdin.readline().strip()
    if typed != wanted:
        raise InputError(
            _("typed {found!r}, expected {wanted!r}; nothing was done").format(
                found=typed[:40], wanted=wanted
            )
        )
    return typed


def _add_stop(app: typer.Typer) -> None:
    words = target_words()

    @app.command(
        name="stop",
        help=_(
            "End a run in order, as Ctrl-C in its own terminal would: its exit policy "
            "for open orders applies, the run folder is written, nothing is latched."
        ),
        epilog=_("Example: kisbt stop"),
    )
    def stop(
        run: Annotated[str, words.run] = "",
        wait_s: Annotated[
            float,
            typer.Option(
                "--wait", metavar="S", min=0.0, help=_("Seconds to wait for its end.")
            ),
        ] = 60.0,
    ) -> int:
        from kisbt.app.instances import find_instance
        from kisbt.app.stop import stop_run

        instance = find_instance(run)
        if stop_run(instance, wait_s=wait_s):
            say(_("{name} has ended").format(name=instance.id))
            return EXIT_OK
        note(
            _(
                "{name} (pid {pid}) has not ended within {wait:g} s; if it hangs: kisbt "
                "halt, then end the process"
            ).format(name=instance.id, pid=instance.pid, wait=wait_s)
        )
        return EXIT_FAILED


def _add_cancel(app: typer.Typer) -> None:
    words = target_words()

    @app.command(
        name="cancel",
        help=_(
            "Cancel one order of kisbt; REF is its number in kisbt show orders. Works "
            "while the run hangs."
        ),
        epilog=_("Example: kisbt cancel 17"),
    )
    def cancel(
        ref: Annotated[int, typer.Argument(metavar="REF", help=_("Its number."))],
        run: Annotated[str, words.run] = "",
        profile: Annotated[str, words.profile] = "",
        environment: Annotated[Environment, words.environment] = Environment.MOCK,
        emulator: Annotated[Path | None, words.emulator] = None,
    ) -> int:
        from kisbt.app.halt import cancel_own
        from kisbt.app.show import require_open_order
        from kisbt.app.targets import find_target

        target = find_target(choice(run, profile, environment, emulator))
        require_open_order(target, ref)
        report = cancel_own(target, by="user", tell=note, refs={ref})
        for line in report.left:
            say(line)
        if report.complete:
            say(_("order {ref} works no more").format(ref=ref))
        return EXIT_OK if report.complete else EXIT_FAILED


def _add_reconcile(app: typer.Typer) -> None:
    words = target_words()

    @app.command(
        name="reconcile",
        help=_(
            "Compare the journal with the broker and book what it missed, while no run "
            "trades the account; sends no order. --split shows what a split makes of a "
            "holding, and with --apply books it."
        ),
        epilog=_("Example: kisbt reconcile --profile default --environment mock"),
    )
    def reconcile(
        config: Annotated[Path | None, words.config] = None,
        split: Annotated[
            tuple[str, str] | None,
            typer.Option(
                "--split",
                metavar="CODE RATIO",
                help=_("New shares for one old one: 5, or 1/5 for a merger."),
            ),
        ] = None,
        apply: Annotated[bool, typer.Option("--apply", help=_("Book it."))] = False,
        thaw: Annotated[
            str,
            typer.Option(
                "--thaw",
                metavar="CODE",
                help=_("Let a frozen symbol be traded again, once you have looked."),
            ),
        ] = "",
        order: Annotated[
            tuple[int, str] | None,
            typer.Option(
                "--order",
                metavar="REF NUMBER",
                help=_(
                    "Which order of the broker a doubtful one is; none: it has none."
                ),
            ),
        ] = None,
        rebuild: Annotated[
            bool,
            typer.Option(
                "--rebuild",
                help=_(
                    "Set a damaged journal aside and begin a new one in which nothing "
                    "is kisbt's own. Asks for a phrase."
                ),
            ),
        ] = False,
        accept: Annotated[
            bool,
            typer.Option(
                "--accept-broker-position",
                help=_("Make the journal agree with the broker's holdings."),
            ),
        ] = False,
        profile: Annotated[str, words.profile] = "default",
        environment: Annotated[Environment, words.environment] = Environment.MOCK,
        emulator: Annotated[Path | None, words.emulator] = None,
        json: Annotated[bool, words.json] = False,
    ) -> int:
        from kisbt.app import byhand
        from kisbt.app.targets import find_target

        target = find_target(choice("", profile, environment, emulator))
        if split is not None:
            return _split(target, *split, apply=apply)
        if rebuild:
            return _rebuild(target)
        if thaw:
            byhand.thaw(target, thaw)
            say(_("{symbol} may be traded again").format(symbol=thaw))
            return EXIT_OK
        loaded = byhand.config_of(target, config)
        if order is not None:
            found = byhand.decide(target, loaded, *order)
        else:
            found = byhand.reconcile(target, loaded, accept=accept)
        if json:
            print_json(
                {
                    "clean": found.clean,
                    "found": list(found.found),
                    "findings": [
                        {
                            "symbol": item.symbol,
                            "kind": item.kind.value,
                            "text": item.text,
                            "stops": item.stops,
                        }
                        for item in found.findings
                    ],
                    "unresolved": list(found.unresolved),
                    "frozen": list(found.frozen),
                }
            )
        else:
            for line in (*found.found, *found.unresolved, *found.frozen):
                say(line)
            for item in found.findings:
                say(item.text)
            say(
                _("clean: journal and broker agree")
                if found.clean
                else _("NOT clean: a person must decide; see above")
            )
        return EXIT_OK if found.clean else EXIT_FAILED


def _split(target: "Target", symbol: str, ratio: str, *, apply: bool) -> int:
    from kisbt.app import byhand
    from kisbt.orders.reconcile import parse_ratio

    plan, done = byhand.split(target, symbol, parse_ratio(ratio), apply=apply)
    say(
        _(
            "{symbol}: {before:,} shares at {old:,.2f} become {after:,} at {new:,.2f} won"
        ).format(
            symbol=plan.symbol,
            before=plan.before.quantity,
            old=plan.before.average,
            after=plan.after.quantity,
            new=plan.after.average,
        )
    )
    say(_("booked") if done else _("nothing was changed; book it with --apply"))
    return EXIT_OK


def _rebuild(target: "Target") -> int:
    from kisbt.app.rebuild import rebuild, require_damage

    note(require_damage(target))
    note(
        _(
            "A new journal knows no order, share or won of the strategy: all that is in "
            "the account becomes external, and the strategy begins with its capital."
        )
    )
    digits = target.find_access().keys.account.number[-4:]
    require_typed(f"REBUILD {digits}", money=target.is_money)
    made = rebuild(target)
    say(_("the damaged journal is now {path}").format(path=made.aside))
    for symbol, quantity in made.outside.items():
        say(
            _("{symbol}: {quantity:,} shares, external").format(
                symbol=symbol, quantity=quantity
            )
        )
    for line in made.working:
        say(_("{order}: cancel it in the HTS if it was kisbt's").format(order=line))
    say(
        _(
            "Which shares are the strategy's: write them into live.adopt, and lower "
            "capital by what they cost."
        )
    )
    if made.disarmed:
        say(_("live is not armed any more: kisbt arm"))
    return EXIT_OK

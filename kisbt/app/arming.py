"""Arming: a person's typed leave to trade with real money, for a time.

Without it, changed or expired, a run may still reduce the strategy's own positions
and never adds to one. It outlives sessions and crashes; no environment variable and no
option of `kisbt run` replaces it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import kisbt
from kisbt.app.calibration import read_calibration
from kisbt.clock import Clock, SystemClock
from kisbt.config import Config
from kisbt.config.schema import LIVE_RISK_KEYS, config_hash
from kisbt.errors import InputError, SafetyRefused, StorageError
from kisbt.kis.keys import KisKeys
from kisbt.kis.private import read_private, remove_private, write_private
from kisbt.text import _

LONGEST_DAYS = 30
"""Days for which live can be armed at once."""

_FILE = "arming.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arming:
    """What was agreed to; a change of any of it ends it.

    Attributes:
        account: masked.
        account_id: of the account and the app key, one way.
        capital: won, the strategy's own cash.
        won_cap: won; no purchase is larger.
        config: hash of the configuration and the symbols it means.
        version: of kisbt.
        armed_at: aware KST.
        until: last date on which it holds.
    """

    account: str
    account_id: str
    capital: int
    won_cap: int
    config: str
    version: str
    armed_at: datetime
    until: date


def account_id(keys: KisKeys) -> str:
    """Return what tells an account and its key from every other; cannot be undone."""
    text = f"{keys.fingerprint}:{keys.account}"
    return hashlib.sha256(text.encode()).hexdigest()


def terms_hash(config: Config, symbols: Sequence[str]) -> str:
    """Return the hash of a configuration and of the symbols its universe means.

    The symbols may come from a file the configuration only names.
    """
    text = json.dumps([config_hash(config), list(symbols)])
    return hashlib.sha256(text.encode()).hexdigest()


def arming_phrase(keys: KisKeys, won_cap: int) -> str:
    """Return what a person must type to arm live."""
    return f"LIVE {keys.account.number[-4:]} {won_cap}"


def arm(  # noqa: PLR0913 - each is part of what is agreed to
    folder: Path,
    config: Config,
    keys: KisKeys,
    *,
    symbols: Sequence[str],
    won_cap: int,
    until: date,
    typed: str,
    clock: Clock | None = None,
) -> Arming:
    """Allow live trading with an account until a date.

    Args:
        folder: state of the account on the real server.
        config: with mode live.
        keys: of the account.
        symbols: the resolved universe.
        won_cap: won; no purchase is larger.
        until: last date, at most `LONGEST_DAYS` away.
        typed: what the person has typed.
        clock: default the machine's.

    Raises:
        InputError: the date, the cap or the phrase is wrong.
        SafetyRefused: the configuration or the account is not ready for it.
        StorageError: it could not be written; nothing is armed.
    """
    now = (clock or SystemClock()).now()
    check_terms(config, won_cap=won_cap, until=until, today=now.date())
    require_calibration(folder, keys)
    wanted = arming_phrase(keys, won_cap)
    if typed.strip() != wanted:
        raise InputError(
            _("typed {found!r}, expected {wanted!r}; nothing was armed").format(
                found=typed.strip()[:40], wanted=wanted
            )
        )
    arming = Arming(
        account=keys.account.masked,
        account_id=account_id(keys),
        capital=config.capital,
        won_cap=won_cap,
        config=terms_hash(config, symbols),
        version=kisbt.__version__,
        armed_at=now,
        until=until,
    )
    row = {
        **asdict(arming),
        "armed_at": arming.armed_at.isoformat(),
        "until": arming.until.isoformat(),
    }
    write_private(folder / _FILE, json.dumps(row, indent=2))
    return arming


def disarm(folder: Path) -> bool:
    """End the arming of an account; return whether there was one.

    Raises:
        StorageError: it is still in force.
    """
    return remove_private(folder / _FILE)


def read_arming(folder: Path) -> Arming | None:
    """Return what was agreed to; None where there is nothing.

    Raises:
        StorageError: the file is not private, or not one of these.
    """
    text = read_private(folder / _FILE)
    if text is None:
        return None
    try:
        row = json.loads(text)
        return Arming(
            account=str(row["account"]),
            account_id=str(row["account_id"]),
            capital=int(row["capital"]),
            won_cap=int(row["won_cap"]),
            config=str(row["config"]),
            version=str(row["version"]),
            armed_at=datetime.fromisoformat(row["armed_at"]),
            until=date.fromisoformat(row["until"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(
            _("{path}: not a file kisbt has written; remove it").format(
                path=folder / _FILE
            )
        ) from error


def require_armed(
    folder: Path,
    config: Config,
    keys: KisKeys,
    *,
    symbols: Sequence[str],
    clock: Clock | None = None,
) -> Arming:
    """Return the arming in force for this very account and configuration.

    Raises:
        SafetyRefused: there is none; the message says what is missing or has changed.
        StorageError: the file cannot be believed.
    """
    arming = read_arming(folder)
    if arming is None:
        raise SafetyRefused(
            _(
                "live is not armed for account {account}: kisbt arm {config} --until "
                "DATE --won-cap WON"
            ).format(account=keys.account.masked, config=config.source or "CONFIG")
        )
    problem = _what_changed(
        arming, config, keys, symbols, (clock or SystemClock()).now()
    )
    if problem:
        raise SafetyRefused(
            _("live is not armed any more: {why}. Arm it again: kisbt arm").format(
                why=problem
            )
        )
    return arming


def _what_changed(
    arming: Arming,
    config: Config,
    keys: KisKeys,
    symbols: Sequence[str],
    now: datetime,
) -> str:
    """Return the first thing that ends an arming; "" while it holds."""
    changed = (
        (
            arming.account_id != account_id(keys),
            _(
                "the account or its app key is another ({before} then, {now} now)"
            ).format(before=arming.account, now=keys.account.masked),
        ),
        (
            arming.capital != config.capital,
            _("capital was {before:,} won and is {now:,} won").format(
                before=arming.capital, now=config.capital
            ),
        ),
        (
            arming.version != kisbt.__version__,
            _("kisbt was {before} and is {now}").format(
                before=arming.version, now=kisbt.__version__
            ),
        ),
        (
            arming.config != terms_hash(config, symbols),
            _("the configuration or its universe has changed"),
        ),
        (
            now.date() > arming.until,
            _("it ended on {date}").format(date=arming.until),
        ),
        (
            # Nobody arms in the future: the clock was, or is, wrong.
            now < arming.armed_at - timedelta(minutes=5),
            _("it was armed at {moment}, which is yet to come; check the clock").format(
                moment=arming.armed_at.isoformat(timespec="minutes")
            ),
        ),
    )
    return next((text for holds, text in changed if holds), "")


def check_terms(config: Config, *, won_cap: int, until: date, today: date) -> None:
    """Check what is to be agreed to, before a person is asked.

    Raises:
        InputError: the cap or the date is wrong.
        SafetyRefused: the configuration is not one for real money.
    """
    if config.mode != "live" or config.live.server != "kis":
        raise SafetyRefused(
            _(
                "mode: {mode}, live.server: {server}: only mode live on the server kis "
                "is armed; a rehearsal and paper need no arming"
            ).format(mode=config.mode, server=config.live.server)
        )
    for key in LIVE_RISK_KEYS:
        if getattr(config.risk, key) is None:
            raise SafetyRefused(
                _(
                    "risk.{key} is switched off; live needs every one of the limits {all}"
                ).format(key=key, all=", ".join(LIVE_RISK_KEYS))
            )
    if not 0 < won_cap <= config.capital:
        raise InputError(
            _(
                "--won-cap {found:,}: expected won from 1 to the capital, {capital:,}"
            ).format(found=won_cap, capital=config.capital)
        )
    last = today + timedelta(days=LONGEST_DAYS)
    if not today <= until <= last:
        raise InputError(
            _("--until {found}: expected a date from {first} to {last}").format(
                found=until, first=today, last=last
            )
        )


def require_calibration(folder: Path, keys: KisKeys) -> None:
    """Check that the account has been calibrated, without a problem.

    Raises:
        SafetyRefused: it has not.
        StorageError: the record cannot be believed.
    """
    record = read_calibration(folder)
    if record is None:
        raise SafetyRefused(
            _(
                "account {account} is not calibrated: run kisbt calibrate --mode live "
                "first; it sends one share at a price that cannot fill, and takes it back"
            ).format(account=keys.account.masked)
        )
    if record.account_id != account_id(keys):
        raise SafetyRefused(
            _(
                "the calibration is of another account or key ({found}); run kisbt "
                "calibrate --mode live"
            ).format(found=record.account)
        )
    if record.problems:
        raise SafetyRefused(
            _("the calibration of {date} found a problem: {problem}").format(
                date=record.at.date(), problem=record.problems[0]
            )
        )


def exposure_lines(config: Config, won_cap: int) -> list[str]:
    """Return what can be lost at most, and under which limits, a line each."""
    risk = config.risk
    lines = [
        _("one purchase: at most {cap:,} won, and {pct:g} % (of equity)").format(
            cap=won_cap, pct=risk.max_order_pct or 100.0
        ),
        _("one symbol: at most {pct:g} % (of equity)").format(
            pct=risk.max_symbol_pct or 100.0
        ),
        _("all purchases together: at most the capital, {capital:,} won").format(
            capital=config.capital
        ),
        _(
            "a day's loss of {pct:g} %: purchases stop; of {twice:g} %: everything is halted"
        ).format(
            pct=risk.max_daily_loss_pct or 100.0,
            twice=2 * (risk.max_daily_loss_pct or 50.0),
        ),
        _("orders a day: at most {count}").format(count=risk.max_orders_per_day),
    ]
    if risk.max_open_orders is not None:
        lines.append(
            _("working at once: at most {won:,} won, should this machine fail").format(
                won=min(config.capital, won_cap * risk.max_open_orders)
            )
        )
    else:
        lines.append(
            _("working at once: at most {won:,} won, should this machine fail").format(
                won=config.capital
            )
        )
    return lines

"""What must be right on this machine before a configuration trades: `kisbt doctor`."""

import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import kisbt
from kisbt.app.arming import require_armed
from kisbt.app.calibration import read_calibration
from kisbt.app.config import check_config
from kisbt.app.connect import Access
from kisbt.app.findings import Check, Outcome
from kisbt.app.instances import is_owned
from kisbt.app.state import journal_path, state_folder
from kisbt.candles.symbols import read_symbols
from kisbt.clock import Clock, SystemClock
from kisbt.config import Config, resolve_universe, sizing_conflicts
from kisbt.errors import InputError, KisbtError
from kisbt.kis.client import KisClient
from kisbt.kis.stream import MOST_TRADES, KisStream
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.overrides import KrxOverrides
from kisbt.model.account import Environment
from kisbt.notify import Messenger, Pinger
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access as JournalAccess
from kisbt.text import _

_LEAST_FREE = 500 * 1024 * 1024  # bytes; a day's journal and log take a hundredth
_CALENDAR_AHEAD = timedelta(days=30)
_STREAM_S = 15.0
_PACKAGES = ("backtrader", "pandas", "numpy", "requests", "websocket-client")


def check_machine(*, clock: Clock | None = None) -> Iterator[Check]:
    """Yield what does not depend on any account: versions, disk, files, calendar."""
    time = clock or SystemClock()
    yield _environment()
    yield _disk()
    yield _permissions(state_folder())
    yield _calendar(KrxOverrides().calendar(), time.now().date())


def _environment() -> Check:
    found = [f"Python {platform.python_version()}", f"kisbt {kisbt.__version__}"]
    missing = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    text = ", ".join([*found, f"{platform.system()} {platform.machine()}"])
    if missing or sys.version_info < (3, 11):
        return Check(
            _("environment"),
            Outcome.FAILED,
            text,
            _("install kisbt again with Python 3.11 or later: pip install kisbt"),
        )
    return Check(_("environment"), Outcome.OK, text)


def _disk() -> Check:
    folder = _existing(state_folder())
    free = shutil.disk_usage(folder).free
    text = _("{free:,} MB free at {folder}").format(free=free // 1024**2, folder=folder)
    if free < _LEAST_FREE:
        remedy = _("free some: without a journal no order is sent")
        return Check(_("disk"), Outcome.FAILED, text, remedy)
    return Check(_("disk"), Outcome.OK, text)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _permissions(folder: Path) -> Check:
    """Find files of kisbt's state that others may read or write."""
    name = _("file permissions")
    if os.name == "nt":
        return Check(name, Outcome.SKIPPED, _("Windows keeps the folder private"))
    open_to_others = [
        path
        for path in ([folder, *folder.rglob("*")] if folder.exists() else [])
        if not path.is_symlink() and _is_open_to_others(path)
    ]
    private = [path for path in open_to_others if path.is_file()]
    if private:
        remedy = _("chmod -R go= {folder}; if others could read keys, make new ones")
        return Check(
            name,
            Outcome.FAILED,
            _("{count} files others may read, such as {path}").format(
                count=len(private), path=private[0]
            ),
            remedy.format(folder=folder),
        )
    return Check(name, Outcome.OK, _("yours alone"))


def _is_open_to_others(path: Path) -> bool:
    try:
        return bool(stat.S_IMODE(path.lstat().st_mode) & 0o077)
    except FileNotFoundError:  # a living run writes and renames all the time
        return False


def _calendar(calendar: KrxCalendar, today: date) -> Check:
    """Find whether the coming weeks are known."""
    name = _("calendar")
    try:
        ahead = calendar.next_session(today + _CALENDAR_AHEAD)
    except InputError as error:
        remedy = _("update kisbt, or add the days to krx_overrides.yaml")
        return Check(name, Outcome.FAILED, str(error), remedy)
    return Check(
        name, Outcome.OK, _("sessions known to {date} and beyond").format(date=ahead)
    )


# One configuration.


def check_plan(path: Path) -> tuple[list[Check], Config | None]:
    """Return what a configuration itself shows, and the configuration if it is one."""
    findings = check_config(path)
    checks = [
        Check(
            _("configuration"), Outcome.FAILED, text, _("edit {path}").format(path=path)
        )
        for text in findings.problems
    ]
    config = findings.config
    if config is None:
        return checks, None
    if not checks:
        checks.append(
            Check(_("configuration"), Outcome.OK, f"{path}, mode: {config.mode}")
        )
    checks.append(_sizing(config))
    checks.append(_messages(config))
    return checks, config


def _sizing(config: Config) -> Check:
    conflicts = sizing_conflicts(config)
    if conflicts:
        remedy = _("lower position_size, or raise the limit in risk:")
        return Check(_("sizing"), Outcome.FAILED, conflicts[0], remedy)
    return Check(_("sizing"), Outcome.OK, _("within the limits of risk:"))


def _messages(config: Config) -> Check:
    notify = config.notify
    if not notify.urls and not notify.heartbeat_url:
        return Check(
            _("messages"), Outcome.SKIPPED, _("notify: is empty; nobody would be told")
        )
    try:
        Messenger(notify.urls)
        if notify.heartbeat_url:
            Pinger(notify.heartbeat_url)
    except KisbtError as error:
        return Check(_("messages"), Outcome.FAILED, str(error), _("edit notify:"))
    text = _("{count} addresses").format(count=len(notify.urls))
    return Check(_("messages"), Outcome.OK, text)


def wanted_environment(config: Config) -> Environment | None:
    """Return whose server a configuration trades on; None for no server of KIS."""
    if config.mode == "live" and config.live.server == "kis":
        return Environment.REAL
    if config.mode == "paper" and config.paper.server == "kis":
        return Environment.MOCK
    return None


def check_agreement(config: Config, access: Access) -> Iterator[Check]:
    """Yield whether configuration, keys and what is known of the account agree."""
    yield _same_server(config, access)
    symbols = _symbols(config)
    yield _rate(config, access, len(symbols))
    yield from _mock_gaps(config, access, len(symbols))
    if wanted_environment(config) is Environment.REAL:
        yield _calibrated(access)
        yield _armed(config, access, symbols)


def _symbols(config: Config) -> list[str]:
    try:
        known = read_symbols(config.data_path / "symbols.csv")
        return [item.symbol for item in resolve_universe(config, known)]
    except KisbtError:
        return list(config.universe.symbols)


def _same_server(config: Config, access: Access) -> Check:
    name = _("mode and keys")
    wanted, found = wanted_environment(config), access.server
    text = _("mode {mode}, keys {profile} of {server}, account {account}").format(
        mode=config.mode,
        profile=access.keys.profile,
        server=found.name,
        account=access.keys.account.masked,
    )
    if wanted is None or found.is_emulator:
        return Check(name, Outcome.OK, text)
    if wanted is not found.environment or access.keys.profile != config.kis.profile:
        remedy = _("this mode trades with kis.profile {profile} on the {server} server")
        return Check(
            name,
            Outcome.FAILED,
            text,
            remedy.format(profile=config.kis.profile, server=wanted),
        )
    return Check(name, Outcome.OK, text)


def _rate(config: Config, access: Access, symbols: int) -> Check:
    name = _("rate")
    mock = access.server.environment is Environment.MOCK
    intraday = not config.bars.length.is_daily
    text = _(
        "{symbols} symbols; {most} are followed by the stream, {calls} a minute can be "
        "asked for one by one"
    ).format(symbols=symbols, most=MOST_TRADES, calls=25 if mock else 400)
    if intraday and mock and symbols > MOST_TRADES:
        remedy = _("use at most {most} symbols, or daily bars").format(most=MOST_TRADES)
        return Check(name, Outcome.FAILED, text, remedy)
    return Check(name, Outcome.OK, text)


def _mock_gaps(config: Config, access: Access, symbols: int) -> Iterator[Check]:
    """Yield what KIS's practice server lacks and this configuration would use."""
    if access.server.environment is not Environment.MOCK or access.server.is_emulator:
        return
    gaps = [_("orders made overnight are sent at 09:00:00, after the opening auction")]
    if not config.bars.length.is_daily:
        gaps.append(
            _(
                "no minutes of past days: the store must hold the warm-up bars ({count})"
            ).format(count=config.data.warmup)
        )
    gaps.append(
        _("the order query may stay empty: fills are then confirmed by the balance")
    )
    for text in gaps:
        yield Check(_("mock server"), Outcome.SKIPPED, text)


def _calibrated(access: Access) -> Check:
    name = _("calibration")
    remedy = _("kisbt calibrate --mode live")
    try:
        record = read_calibration(access.state)
    except KisbtError as error:
        return Check(name, Outcome.FAILED, str(error), remedy)
    if record is None:
        return Check(name, Outcome.FAILED, _("never"), remedy)
    if record.problems:
        return Check(name, Outcome.FAILED, record.problems[0], remedy)
    return Check(name, Outcome.OK, f"{record.at:%Y-%m-%d %H:%M}")


def _armed(config: Config, access: Access, symbols: list[str]) -> Check:
    try:
        found = require_armed(access.state, config, access.keys, symbols=symbols)
    except KisbtError as error:
        return Check(_("arming"), Outcome.FAILED, str(error), _("kisbt arm"))
    text = _("until {date}, purchases up to {cap:,} won").format(
        date=found.until, cap=found.won_cap
    )
    return Check(_("arming"), Outcome.OK, text)


# One account.


def check_account_state(access: Access) -> Iterator[Check]:
    """Yield the state kisbt keeps of an account: halt, lock, journal, HTS id."""
    halted = HaltLatch(access.state).raised()
    if halted is not None:
        yield Check(
            _("halt"),
            Outcome.FAILED,
            _("halted by {by}: {why}").format(by=halted.by, why=halted.reason or "?"),
            _("kisbt show status, then kisbt unhalt"),
        )
    else:
        yield Check(_("halt"), Outcome.OK, _("not halted"))
    alive = _("a run trades it now") if is_owned(access.state) else _("no run is alive")
    yield Check(_("account's run"), Outcome.OK, alive)
    yield _journal(access)
    if access.keys.hts_id:
        yield Check(_("HTS id"), Outcome.OK, _("kept"))
    else:
        yield Check(
            _("HTS id"),
            Outcome.FAILED,
            _("none: notices of orders cannot be subscribed"),
            _("kisbt keys add, with the id you log in to the HTS with"),
        )


def _journal(access: Access) -> Check:
    name, path = _("journal"), journal_path(access.state)
    if not path.exists():
        return Check(name, Outcome.OK, _("none yet; nothing has been traded here"))
    try:
        with Journal(path, access=JournalAccess.READ) as journal:
            count = len(journal.open_orders())
            unresolved = [o for o in journal.open_orders() if o.is_unresolved]
            lost = journal.emergencies()
    except KisbtError as error:
        return Check(name, Outcome.FAILED, str(error), _("see the message"))
    if lost:
        text = _("{count} answers of the broker could not be written").format(
            count=len(lost)
        )
        return Check(name, Outcome.FAILED, text, _("kisbt reconcile"))
    if unresolved:
        text = _("{count} orders whose outcome is not known").format(
            count=len(unresolved)
        )
        return Check(name, Outcome.FAILED, text, _("kisbt reconcile"))
    return Check(name, Outcome.OK, _("sound, {count} open orders").format(count=count))


def check_stream(access: Access, client: KisClient) -> Check:
    """Return whether the websocket takes the subscription of notices."""
    name = _("websocket")
    if not access.keys.hts_id:
        return Check(name, Outcome.SKIPPED, _("no HTS id: nothing to subscribe"))
    if is_owned(access.state):
        # A key has one session; a second one would throw the run's out.
        return Check(name, Outcome.SKIPPED, _("a living run uses it"))
    stream = KisStream(access.keys, access.server, client.auth)
    stream.subscribe_notices()
    stream.start()
    try:
        up = stream.wait_ready(_STREAM_S)
    finally:
        stream.stop()
    if up:
        return Check(name, Outcome.OK, _("notices of orders are subscribed"))
    return Check(
        name,
        Outcome.FAILED,
        _("no subscription within {seconds:.0f} s").format(seconds=_STREAM_S),
        _("is the HTS id right, and does no other program use this key?"),
    )

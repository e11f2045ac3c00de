"""What must be right before kisbt can talk to a server, each with its remedy."""

from collections.abc import Callable, Iterator
from pathlib import Path

from kisbt.app.checkup import (
    check_account_state,
    check_agreement,
    check_machine,
    check_plan,
    check_stream,
    wanted_environment,
)
from kisbt.app.connect import Access, key_store, kis_access
from kisbt.app.findings import Check, Outcome
from kisbt.app.state import state_folder
from kisbt.config.schema import Config
from kisbt.errors import KisbtError, OutcomeUnknown
from kisbt.kis.client import KisClient
from kisbt.kis.private import read_private, remove_private, write_private
from kisbt.model.account import Environment
from kisbt.text import _

_DEFAULT_PROFILE = "default"
_LARGEST_OFFSET_S = 2.0
_SYMBOL = "005930"


def check_all(
    access: Callable[[], Access] | None,
    *,
    config: Path | None = None,
    offline: bool = False,
) -> Iterator[Check]:
    """Yield every check: machine, configuration, account, connection.

    Args:
        access: makes keys and server; may fail, which is a finding. None for what
            the configuration trades with.
        config: of the run that is to start; None leaves its checks out.
        offline: send nothing.
    """
    yield from check_machine()
    loaded = None
    if config is not None:
        checks, loaded = check_plan(config)
        yield from checks
    yield _state_folder()
    yield _keyring()
    if access is None:
        access = _access_of(loaded)
        if access is None:
            text = _("a backtest, and the local server, need none")
            yield Check(_("keys"), Outcome.SKIPPED, text)
            return
    try:
        found = access()
    except (KisbtError, OSError) as error:
        yield Check(_("keys"), Outcome.FAILED, str(error), _("kisbt keys add"))
        return
    yield Check(_("keys"), Outcome.OK, f"{found.keys!r}")
    yield Check(_("server"), Outcome.OK, f"{found.server.name} {found.server.rest_url}")
    if loaded is not None:
        yield from check_agreement(loaded, found)
    yield from check_account_state(found)
    if offline:
        yield Check(_("connection"), Outcome.SKIPPED, _("--offline: nothing was sent"))
        return
    try:
        client = found.open(read_only=True)
    except KisbtError as error:
        yield Check(_("rate budget"), Outcome.FAILED, str(error), _("free the folder"))
        return
    try:
        connected = True
        for check in _online(client, found):
            connected = connected and check.outcome is not Outcome.FAILED
            yield check
        if connected:
            yield check_stream(found, client)
    finally:
        client.close()


def _access_of(config: Config | None) -> Callable[[], Access] | None:
    """Return what makes the keys a configuration trades with; None if it needs none."""
    if config is None:
        return lambda: kis_access(_DEFAULT_PROFILE, Environment.MOCK)
    environment = wanted_environment(config)
    if environment is None:
        return None
    profile = config.kis.profile
    return lambda: kis_access(profile, environment)


def _online(client: KisClient, access: Access) -> Iterator[Check]:
    steps: tuple[tuple[str, Callable[[], str], str], ...] = (
        (_("token"), lambda: _token(client), _("check the keys: kisbt keys add")),
        (_("market data"), lambda: _price(client), _("try again in a minute")),
        (
            _("account"),
            lambda: _account(client, access),
            _("the account must be the one the app key was made for: kisbt keys add"),
        ),
        (
            _("websocket key"),
            lambda: _approval(client),
            _("try again in a minute"),
        ),
    )
    for name, work, remedy in steps:
        try:
            yield Check(name, Outcome.OK, work())
        except KisbtError as error:
            yield Check(name, Outcome.FAILED, str(error), _remedy(error, remedy))
            return
        if name == _("market data"):
            yield _clock(client, access)


def _remedy(error: KisbtError, usual: str) -> str:
    if isinstance(error, OutcomeUnknown):
        return _("check the network; KIS closes for maintenance at night")
    return usual


def _state_folder() -> Check:
    folder = state_folder()
    probe = folder / ".probe"
    try:
        write_private(probe, "kisbt")
        read_private(probe)
        remove_private(probe)
    except KisbtError as error:
        remedy = _("make {folder} writable for you only").format(folder=folder)
        return Check(_("state folder"), Outcome.FAILED, str(error), remedy)
    return Check(_("state folder"), Outcome.OK, str(folder))


def _keyring() -> Check:
    found = _("keyring") if key_store().has_keyring else _("private files (no keyring)")
    return Check(_("place of keys"), Outcome.OK, found)


def _token(client: KisClient) -> str:
    client.auth.token()
    return _("given")


def _price(client: KisClient) -> str:
    price = client.fetch_price(_SYMBOL).price
    return _("{symbol} {price:,} won").format(symbol=_SYMBOL, price=price)


def _account(client: KisClient, access: Access) -> str:
    balance = client.fetch_balance()
    return _("{keys}: {count} positions").format(
        keys=repr(access.keys), count=len(balance.positions)
    )


def _approval(client: KisClient) -> str:
    client.auth.approval_key()
    return _("given")


def _clock(client: KisClient, access: Access) -> Check:
    if access.server.is_emulator:
        return Check(_("clock"), Outcome.SKIPPED, _("the emulator has its own time"))
    offset_s = client.clock_offset_s()
    if offset_s is None:
        return Check(
            _("clock"), Outcome.SKIPPED, _("the server does not tell its time")
        )
    text = _("{offset:+.0f} s against the server").format(offset=offset_s)
    # The server tells whole seconds.
    if abs(offset_s) > _LARGEST_OFFSET_S + 1:
        return Check(_("clock"), Outcome.FAILED, text, _("set the clock (NTP)"))
    return Check(_("clock"), Outcome.OK, text)

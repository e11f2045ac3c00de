"""The start gate: nothing is sent before every step has passed, a line for each."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kisbt.app.arming import Arming, require_armed
from kisbt.app.hearing import Hearing
from kisbt.app.history import LivePlan
from kisbt.app.venue import Mode, Venue
from kisbt.errors import KisbtError, KisRefused, SafetyRefused
from kisbt.kis.messages import wrong_account
from kisbt.model.account import Balance, Environment
from kisbt.model.stream import Alert, Trouble
from kisbt.orders.desk import OrderDesk
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.reconcile import Finding
from kisbt.text import _

log = logging.getLogger(__name__)

LARGEST_OFFSET_S = 2.0
_READY_S = 30.0
# Calls a second that queries may take beside orders; see kis.ratelimit.
_CALL_S = {Environment.MOCK: 1.1, Environment.REAL: 1 / 15}


@dataclass(slots=True)
class Gate:
    """Start checks of a run, told as they pass.

    Attributes:
        say: takes a line for people.
    """

    plan: LivePlan
    venue: Venue
    journal: Journal
    desk: OrderDesk
    hearing: Hearing
    say: Callable[[str], None]

    def check_account(self) -> Arming | None:
        """Pass S0 to S3: what is on this machine, the server and the keys.

        Returns:
            The arming in force; None where no money can be lost.

        Raises:
            SafetyRefused: something forbids it.
            KisError, ConfigError: the server does not accept the keys.
        """
        venue = self.venue
        keys = venue.access.keys
        with self._step("S0", _("journal")) as told:
            told(str(self.journal.path))
            if self.journal.unclean:
                told(_("the last run did not end in order; its orders are looked for"))
            for lost in self.journal.emergencies():
                self._say_lost(lost)
        with self._step("S2", _("server, mode, account")) as told:
            told(
                _("{mode} on {server}, account {account}").format(
                    mode=venue.mode.label,
                    server=venue.access.server.name,
                    account=keys.account.masked,
                )
            )
        with self._step("S2", _("halt")) as told:
            self._require_not_halted()
            told(_("not halted"))
        arming = self._arming()
        with self._step("S3", _("token")) as told:
            venue.client.auth.token()
            told(_("valid"))
        with self._step("S1", _("clock")) as told:
            told(self._check_clock())
        return arming

    def _say_lost(self, lost: Mapping[str, Any]) -> None:
        """Tell of an answer of the broker that the journal could not take."""
        facts = ", ".join(
            f"{name} {value}"
            for name, value in lost.items()
            if name not in {"at", "journal"}
        )
        self.say(
            _(
                "warning: at {at} an answer of the broker could not be written: "
                "{facts}. It is looked for among today's orders; compare with the HTS"
            ).format(at=lost.get("at", "?"), facts=facts)
        )

    def _require_not_halted(self) -> None:
        """Refuse an account somebody has halted.

        Raises:
            SafetyRefused: the latch is up.
        """
        halted = HaltLatch(self.venue.state).raised()
        if halted is not None:
            raise SafetyRefused(
                _(
                    "halted by {by}: {why}. Look at kisbt show status; to go on: kisbt "
                    "unhalt"
                ).format(by=halted.by, why=halted.reason or "?")
            )

    def _arming(self) -> Arming | None:
        """S9 comes first: without leave nothing else matters."""
        if self.venue.mode is not Mode.LIVE:
            return None
        try:
            arming = require_armed(
                self.venue.state,
                self.plan.config,
                self.venue.access.keys,
                symbols=self.plan.symbols,
                clock=self.venue.clock,
            )
        except SafetyRefused as error:
            if not self.journal.positions():
                raise
            # Own shares may still be sold: a restart must not lock them in.
            self.say(_("[S9] reduce only: {why}").format(why=error))
            return None
        self.say(
            _("[S9] armed until {date}, purchases up to {cap:,} won").format(
                date=arming.until, cap=arming.won_cap
            )
        )
        return arming

    def _check_clock(self) -> str:
        """Refuse a clock that is wrong.

        Raises:
            SafetyRefused: it is more than two seconds off.
        """
        symbol = self.plan.symbols[0]
        self.venue.data.fetch_price(symbol)
        offset_s = self.venue.data.clock_offset_s()
        if offset_s is None:
            return _("the server does not tell its time")
        # The server's time is in whole seconds, and a fast market moves meanwhile.
        allowed_s = LARGEST_OFFSET_S + 1.0 + offset_allowance_s(self.venue)
        if abs(offset_s) > allowed_s:
            raise SafetyRefused(
                _(
                    "this computer's clock is {offset:+.0f} s against the server; set "
                    "it by the network (NTP), then start again"
                ).format(offset=-offset_s)
            )
        return _("{offset:+.0f} s against the server").format(offset=offset_s)

    def check_books(self) -> tuple[Finding, ...]:
        """Pass S4 to S7: what the broker says, what an earlier run left.

        Raises:
            SafetyRefused: journal and broker do not agree; a person must decide.
            KisError: the broker did not answer everything.
        """
        with self._step("S5", _("orders of earlier runs")) as told:
            lines = self.desk.start()
            for line in lines:
                told(line)
            if not lines:
                told(_("none open"))
        with self._step("S4", _("orders and balance")) as told:
            findings = self._catch_up()
            told(_("read"))
        self.say_rate()
        with self._step("S7", _("positions")) as told:
            stopping = [item for item in findings if item.stops]
            for item in findings:
                told(item.text)
            if stopping:
                raise SafetyRefused(
                    _(
                        "journal and broker do not agree: {what} See: kisbt reconcile"
                    ).format(what=stopping[0].text)
                )
            if not findings:
                told(_("journal and broker agree"))
        self._say_outside()
        return findings

    def _say_outside(self) -> None:
        """Name own shares that no feed of the run is for."""
        outside = [
            item
            for item in self.journal.positions()
            if item.symbol not in self.plan.symbols
        ]
        if not outside:
            return
        names = ", ".join(
            _("{symbol} {quantity:,} shares").format(
                symbol=item.symbol, quantity=item.quantity
            )
            for item in outside
        )
        self.say(
            _(
                "warning: own shares outside the universe: {names}. The strategy does "
                "not see them: they are not sold and do not count in its equity. To "
                "trade them again, write them in universe.symbols"
            ).format(names=names)
        )

    def _catch_up(self) -> tuple[Finding, ...]:
        """Ask for orders and balance.

        Raises:
            SafetyRefused: the account is not the one of the keys.
        """
        try:
            return self.desk.catch_up()
        except KisRefused as error:
            if not wrong_account(error.code):
                raise
            raise SafetyRefused(
                _(
                    "account {account} is not the one the app key was made for ({code})"
                    "; put it right with: kisbt keys add"
                ).format(account=self.venue.access.keys.account.masked, code=error.code)
            ) from error

    def say_rate(self) -> None:
        """Say how many symbols the rate allows."""
        per_minute = int(60.0 / _CALL_S[self.venue.environment] * 0.5)
        self.say(
            _(
                "     rate: about {calls} orders and queries a minute; {symbols} "
                "symbols in the universe"
            ).format(calls=per_minute, symbols=len(self.plan.symbols))
        )

    def listen(self, symbols: tuple[str, ...]) -> None:
        """Pass S8: notices and trades are subscribed, then the broker is asked again.

        Raises:
            SafetyRefused: the stream did not come up.
            KisError: the broker did not answer.
        """
        with self._step("S8", _("stream of notices and trades")) as told:
            self.hearing.subscribe(symbols)
            if not self.hearing.wait_ready(_READY_S):
                raise SafetyRefused(
                    _("the stream is not up after {seconds:.0f} s: {why}").format(
                        seconds=_READY_S, why=self._why_no_stream()
                    )
                )
            told(_("{count} symbols").format(count=len(symbols)))
            if len(symbols) < len(self.plan.symbols):
                told(self._others(len(self.plan.symbols) - len(symbols)))
        # What happened between the first look and the subscription.
        self.desk.catch_up()

    def _others(self, count: int) -> str:
        """Say how the symbols are followed that one websocket has no place for."""
        if self.plan.config.bars.length.is_daily:
            seconds = len(self.plan.symbols) * _CALL_S[self.venue.environment]
            return _(
                "the other {count} are not heard: the day's candles of all are asked "
                "for after the close, about {seconds:.0f} s, and the price of one right "
                "before a live purchase"
            ).format(count=count, seconds=seconds)
        return _("the prices of the other {count} are asked for every 3 s").format(
            count=count
        )

    def _why_no_stream(self) -> str:
        found = [e for e in self.hearing.take_events() if isinstance(e, Alert)]
        causes = [e for e in found if e.trouble is not Trouble.DOWN] or found
        return causes[0].text if causes else _("no answer")

    def open(self) -> None:
        """Pass S9: allow sending."""
        self.desk.arm()
        self.say(_("[S9] ready"))

    @contextmanager
    def _step(self, name: str, what: str) -> Iterator[Callable[[str], None]]:
        told: list[str] = []
        try:
            yield told.append
        except KisbtError as error:
            self.say(
                _("[{name}] {what}: FAILED: {why}").format(
                    name=name, what=what, why=error
                )
            )
            log.error("gate %s failed: %s", name, error)
            raise
        text = "; ".join(told)
        self.say(f"[{name}] {what}: {text}")
        log.info("gate %s: %s", name, text)


def offset_allowance_s(venue: Venue) -> float:
    """Return how far server and client may drift in market time while a call lasts."""
    return 0.25 * venue.speed if venue.is_emulator and not venue.step else 0.0


def adopt(journal: Journal, wanted: dict[str, int], balance: Balance) -> list[str]:
    """Take over shares of the account that the configuration names.

    Args:
        journal: of the account.
        wanted: shares by symbol.
        balance: of the account.

    Returns:
        Lines for people.

    Raises:
        SafetyRefused: the account does not hold them.
    """
    held = {row.symbol: row for row in balance.positions}
    lines = []
    for symbol, quantity in wanted.items():
        row = held.get(symbol)
        # What kisbt has bought is its own already and not to be taken over again.
        more = quantity - journal.adopted(symbol)
        free = (0 if row is None else row.quantity) - journal.holding(symbol).quantity
        if more > max(0, free):
            raise SafetyRefused(
                _(
                    "live.adopt {symbol}: {quantity:,} shares are to be taken over, "
                    "{more:,} more than before; the account holds {free:,} that are "
                    "not kisbt's"
                ).format(symbol=symbol, quantity=quantity, more=more, free=max(0, free))
            )
        average = 0.0 if row is None else float(row.average_price)
        added = journal.adopt(symbol, quantity, average)
        if added:
            lines.append(
                _("{symbol}: {count:+,} shares adopted").format(
                    symbol=symbol, count=added
                )
            )
    return lines

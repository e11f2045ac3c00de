"""The watchdog: a small process that halts a run which hangs or has died.

It reads the heartbeat of the strategy loop and the halt latch, and needs nothing of
the run: it finds the own orders in the journal and cancels them itself. It cannot help
when the machine or the network is dead; `notify.heartbeat_url` tells somebody then.

Started by a run as ``python -m kisbt.app.watchdog PID``; imports neither backtrader
nor pandas, so that it is up at once and stays small.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kisbt.app.halt import GIVE_UP_S, HaltReport, cancel_own, raise_latch
from kisbt.app.instances import Instance, running
from kisbt.app.targets import Target, target_of
from kisbt.clock import Clock, SystemClock
from kisbt.errors import KisbtError
from kisbt.model.ports import Urgency
from kisbt.notify import Messenger
from kisbt.orders.halt import Pulse, read_beat
from kisbt.orders.watch import STALE_S, Finding, Vigil
from kisbt.text import _

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
"""Seconds between looks: the first cancellation follows a halt within two."""

_APPEARS_S = 10.0  # the run lists itself before it starts the watchdog
_NOTIFY_S = 20.0
_AGAIN_S = 60.0
_MOST_S = 8 * 3600.0


@dataclass(slots=True)
class Watch:
    """The watch over one run; `look` is called again and again.

    Attributes:
        target: the account it trades.
        vigil: over its heartbeat.
        tell: a line for people.
        alarm: a message for people who are away.
        give_up_s: how long one attempt to cancel may take.
        again_s: after an attempt that left something open, before the next one.
    """

    target: Target
    vigil: Vigil
    tell: Callable[[str], None]
    alarm: Callable[[str, str], None]
    give_up_s: float = GIVE_UP_S
    again_s: float = _AGAIN_S
    _handled: bool = False
    _left: tuple[str, ...] = ()
    _began_s: float = 0.0
    _tried_s: float = 0.0

    def look(self, now_s: float) -> bool:
        """Look once; False when there is nothing to watch any more.

        Args:
            now_s: monotonic seconds of the machine.
        """
        beat = read_beat(self.target.state)
        finding = self.vigil.look(beat, now_s)
        if finding is Finding.STALE and not self._handled:
            self._halt_hung(now_s)
        elif not self.target.latch.is_raised():
            self._handled, self._left = False, ()
        elif not self._handled:
            # By hand, by a command, or by the run itself: who hangs cannot cancel.
            self._cancel(now_s)
        elif self._left and now_s - self._tried_s >= self.again_s:
            self._cancel(now_s)  # the network may be back
        if finding is Finding.ENDED:
            return False
        quiet = beat is None or beat.pulse is not Pulse.OPEN or self._handled
        return self.target.is_traded or not quiet or bool(self._left)

    def _halt_hung(self, now_s: float) -> None:
        reason = (
            _("the strategy has not answered for {seconds:.0f} s")
            if self.target.is_traded
            else _("the run has died {seconds:.0f} s ago")
        ).format(seconds=self.vigil.silence_s)
        try:
            raise_latch(self.target, reason=reason, by="watchdog", tell=self.tell)
        except KisbtError as error:
            self.tell(str(error))  # cancel all the same
        self._cancel(now_s, reason)

    def _cancel(self, now_s: float, reason: str = "") -> None:
        if not self._handled:
            self._began_s = now_s
        self._handled, self._tried_s = True, now_s
        before = self._left
        halted = self.target.latch.raised()
        why = reason or (halted.reason if halted else "")
        report = cancel_own(
            self.target, by="watchdog", tell=self.tell, give_up_s=self.give_up_s
        )
        # Day orders are gone by then; nobody is to be kept awake for ever.
        tired = now_s - self._began_s >= _MOST_S
        self._left = () if report.complete or tired else report.left
        if before and self._left == before:
            return  # told already
        title = _("kisbt halted: {name}").format(name=self.target.name)
        self.alarm(title, "\n".join([why, *report_lines(report)]))


def report_lines(report: HaltReport) -> list[str]:
    """Return what a halt has done, for people, a line each."""
    lines = [
        _("{count} orders cancelled").format(count=len(report.cancelled))
        if report.cancelled
        else _("no order was open")
        if report.complete
        else _("no order was cancelled")
    ]
    lines += [_("STILL OPEN: {order}").format(order=text) for text in report.left]
    if report.complete:
        lines.append(_("the broker shows no own order open"))
    lines.append(
        _(
            "Positions are kept. To go on: look at `kisbt show status`, then type "
            "`kisbt unhalt`"
        )
    )
    return lines


def watch(
    instance: Instance,
    *,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
    stale_s: float = STALE_S,
) -> None:
    """Watch a run until it has ended.

    Args:
        instance: the run.
        clock: the machine's own.
        stop: set to end the watch.
        stale_s: seconds of silence in a session that count as hung.
    """
    time, ended = clock or SystemClock(), stop or threading.Event()
    target = target_of(instance)
    messenger = _messenger(instance)
    messenger.start()

    def alarm(title: str, text: str) -> None:
        messenger.notify(Urgency.CRITICAL, title, text)

    post = Watch(target, Vigil(instance.pid, stale_s=stale_s), log.warning, alarm)
    try:
        while post.look(time.monotonic()) and not ended.wait(LOOK_EVERY_S):
            pass
    finally:
        messenger.close(_NOTIFY_S)


def _messenger(instance: Instance) -> Messenger:
    """Return the way to people the run's configuration names; none if it cannot."""
    if not instance.config:
        return Messenger([])
    from kisbt.config import load_config

    try:
        return Messenger(load_config(Path(instance.config)).notify.urls)
    except KisbtError as error:
        log.warning("no messages: %s", error)
        return Messenger([])


def spawn_watchdog(
    pid: int, log_file: Path, *, stale_s: float = STALE_S
) -> subprocess.Popen[bytes]:
    """Start the watchdog of a run as a process of its own.

    It is out of reach of Ctrl-C in the run's terminal and outlives the run; it ends by
    itself after the run's last heartbeat.

    Args:
        pid: of the run, which has listed itself already.
        log_file: takes what it says.
        stale_s: seconds of silence in a session that count as hung.
    """
    apart: dict[str, object] = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        if os.name == "nt"
        else {"start_new_session": True}
    )
    with log_file.open("ab") as stream:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # noqa: S603 - our own interpreter
            [sys.executable, "-m", __name__, str(pid), "--stale", str(stale_s)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            **apart,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch the run with a process number; return the exit code."""
    parser = argparse.ArgumentParser(prog="kisbt-watchdog")
    parser.add_argument("pid", type=int)
    parser.add_argument("--stale", type=float, default=STALE_S)
    asked = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s watchdog %(levelname)s %(message)s"
    )
    clock, stop = SystemClock(), threading.Event()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal may close
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    instance = _find(asked.pid, clock)
    if instance is None:
        log.error("no run with pid %s is listed", asked.pid)
        return 1
    log.info("watching %s (pid %s)", instance.id, instance.pid)
    watch(instance, clock=clock, stop=stop, stale_s=asked.stale)
    log.info("nothing left to watch")
    return 0


def _find(pid: int, clock: Clock) -> Instance | None:
    until_s = clock.monotonic() + _APPEARS_S
    while True:
        found = next((item for item in running() if item.pid == pid), None)
        if found is not None or clock.monotonic() >= until_s:
            return found
        clock.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(main())

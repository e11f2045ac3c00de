"""An emulator as a run sees it: in this process, or another one's over loopback."""

import threading
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

import requests

from kisbt.app.connect import Access, ReadyRow, access_of_row, emulator_row
from kisbt.clock import Clock, EmulatorClock
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
from kisbt.errors import ConfigError, KisbtError
from kisbt.model.account import Environment
from kisbt.text import _

_TIMEOUT_S = 60.0  # an advance over a long night waits for every frame to be taken
_LOOK_EVERY_S = 0.25
_JOIN_S = 5.0


class EmulatorLink(Protocol):
    """What a run asks of the emulator it trades on.

    Attributes:
        access: keys, addresses, and which emulator it is.
        row: what the ready file says of that server.
        step: time moves only when told.
        speed: virtual seconds per second; 0 where it is not constant.
    """

    access: Access
    row: ReadyRow
    step: bool
    speed: float

    @property
    def started(self) -> datetime:
        """Virtual time from which the clocks' seconds count, aware KST."""
        ...

    @property
    def clock(self) -> Clock:
        """Virtual time, for an emulator that moves by itself."""
        ...

    def now(self) -> datetime:
        """Return virtual time, aware KST."""
        ...

    def advance_to(self, moment: datetime) -> None:
        """Move virtual time; returns when every frame has left."""
        ...

    def hold(self, moment: datetime | None) -> None:
        """Have a moving market wait at a moment for the run; None lets it go on."""
        ...

    def frames_sent(self) -> int:
        """Return the websocket frames handed to clients so far."""
        ...

    def frames_due(self, moment: datetime) -> int | None:
        """Return the frames a client must have read to know all up to a moment.

        None when that is not known yet, or never is.
        """
        ...

    @property
    def last_session(self) -> date | None:
        """The last date that can be replayed; None if there is always another."""
        ...

    def close(self) -> None:
        """Let go of it; ends one that this process has started."""
        ...


class OwnEmulator:
    """An emulator that lives as long as the run."""

    def __init__(self, settings: Settings, environment: Environment) -> None:
        """Start it.

        Args:
            settings: what it is made of.
            environment: which of its servers the run trades on.

        Raises:
            KisbtError: there is nothing to replay.
        """
        self.emulator = Emulator(settings)
        self.emulator.start()
        self._environment = environment.value
        self.row = ReadyRow(self.emulator.side(environment.value))
        self.access = access_of_row(self.row, _("the emulator"))
        self.step = settings.step
        self.speed = settings.speed

    @property
    def started(self) -> datetime:
        """Virtual time from which the clocks' seconds count."""
        return self.emulator.started

    @property
    def clock(self) -> Clock:
        """The market's own clock."""
        return self.emulator.clock

    def now(self) -> datetime:
        """Return virtual time."""
        return self.emulator.now()

    def advance_to(self, moment: datetime) -> None:
        """Move virtual time."""
        self.emulator.advance_to(moment)

    def hold(self, moment: datetime | None) -> None:
        """Have the market wait at a moment."""
        self.emulator.hold(moment)

    def frames_sent(self) -> int:
        """Return the frames handed to clients so far."""
        return self.emulator.frames_sent(self._environment)

    def frames_due(self, moment: datetime) -> int | None:
        """Return the frames that tell everything up to a moment."""
        if self.emulator.now() < moment:
            return None
        waiting = self.emulator.frames_waiting(self._environment)
        return self.emulator.frames_sent(self._environment) + waiting

    @property
    def last_session(self) -> date | None:
        """The last date that can be replayed."""
        return self.emulator.last_session

    def close(self) -> None:
        """End the emulator."""
        self.emulator.stop()


class AttachedEmulator:
    """Another process's emulator, through its control plane."""

    def __init__(self, ready_file: Path, environment: Environment) -> None:
        """Attach to it and follow its clock.

        Args:
            ready_file: as ``kisbt emulator --ready-file`` writes it.
            environment: which of its servers the run trades on.

        Raises:
            InputError: it is no such file, or that server is not in it.
            KisbtError: the emulator does not answer.
            ConfigError: its limits and its time do not go together.
        """
        self.row = emulator_row(ready_file, environment)
        self.access = access_of_row(self.row, ready_file)
        self._environment = environment.value
        self._path = ready_file
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["authorization"] = f"Bearer {self.row['control_token']}"
        self._lock = threading.Lock()
        self._seen: Mapping[str, Any] = {}
        found = self._look()
        self.step = bool(found["step"])
        self.speed = float(found["speed"])
        self._check_limits()
        self._started = datetime.fromisoformat(found["started"])
        self._clock = EmulatorClock(self._started)
        self._tell()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if not self.step:
            self._thread = threading.Thread(
                target=self._follow, name="kisbt-emulator-clock", daemon=True
            )
            self._thread.start()

    def _check_limits(self) -> None:
        if self._seen["limits"] == "virtual" or self.step or self.speed == 1.0:
            return
        raise ConfigError(
            _(
                "{path}: this emulator counts calls by the computer's clock while its "
                "market runs at speed {speed:g}; start it with --virtual-limits"
            ).format(path=self._path, speed=self.speed),
            path="paper.speed",
        )

    @property
    def started(self) -> datetime:
        """Virtual time from which the clocks' seconds count."""
        return self._started

    @property
    def clock(self) -> Clock:
        """Its time, as followed from here."""
        return self._clock

    def now(self) -> datetime:
        """Return virtual time."""
        return datetime.fromisoformat(self._look()["now"])

    def advance_to(self, moment: datetime) -> None:
        """Move virtual time."""
        self._look({"to": moment.isoformat()})

    def hold(self, moment: datetime | None) -> None:
        """Do nothing: the market belongs to another process."""

    def frames_sent(self) -> int:
        """Return the frames handed to clients so far, as of the last answer."""
        sent: int = self._seen["frames_sent"][self._environment]
        return sent

    def frames_due(self, moment: datetime) -> int | None:
        """Return 0: what is on its way from another process is not known."""
        del moment
        return 0

    @property
    def last_session(self) -> date | None:
        """The last date that can be replayed."""
        found = self._seen["last_session"]
        return None if found is None else date.fromisoformat(found)

    def close(self) -> None:
        """Stop following; the emulator goes on."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        self._session.close()

    def _look(self, asked: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Return what the control plane says of the time, after moving it if asked."""
        url = f"{self.row['control_url']}/clock"
        with self._lock:
            try:
                if asked is None:
                    answer = self._session.get(
                        url, timeout=_TIMEOUT_S, allow_redirects=False
                    )
                else:
                    answer = self._session.post(
                        url, json=dict(asked), timeout=_TIMEOUT_S, allow_redirects=False
                    )
                answer.raise_for_status()
                self._seen = answer.json()
            except (requests.RequestException, ValueError) as error:
                raise KisbtError(
                    _(
                        "the emulator of {path} does not answer ({kind}); is it still "
                        "running?"
                    ).format(path=self._path, kind=type(error).__name__)
                ) from None  # the request in it carries the control token
            return self._seen

    def _tell(self) -> None:
        now = datetime.fromisoformat(self._seen["now"])
        self._clock.tell(now, speed=float(self._seen["speed"]))

    def _follow(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            try:
                self._look()
            except KisbtError:
                continue  # it restarts, or has ended: whoever calls it will see
            self._tell()

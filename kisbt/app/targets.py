"""Accounts as a second terminal finds them: of a living run, or by the name of keys."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kisbt.app.connect import Access, emulator_access, emulator_row, kis_access
from kisbt.app.instances import Instance, find_instance, is_owned, running
from kisbt.app.remoteclock import RemoteClock
from kisbt.app.state import journal_path, profile_folder, state_folder
from kisbt.clock import Clock, SystemClock
from kisbt.errors import InputError
from kisbt.kis.client import KisClient
from kisbt.kis.servers import kis_server
from kisbt.model.account import Environment
from kisbt.orders.halt import HaltLatch
from kisbt.text import _


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An account some command is about.

    Attributes:
        name: for people.
        state: folder of its journal and latch.
        mode: ``paper``, ``rehearsal`` or ``live``.
        environment: of its server.
        instance: the living run; None if none trades it.
    """

    name: str
    state: Path
    mode: str
    environment: Environment
    instance: Instance | None
    find_access: Callable[[], Access]
    find_clock: Callable[[], Clock]

    @property
    def journal(self) -> Path:
        """Path of its journal, which may not be there."""
        return journal_path(self.state)

    @property
    def latch(self) -> HaltLatch:
        """Its halt latch."""
        return HaltLatch(self.state)

    @property
    def is_traded(self) -> bool:
        """Whether a living process trades it."""
        return is_owned(self.state)

    @property
    def is_money(self) -> bool:
        """Whether it is the broker's real server."""
        return self.mode == "live"

    @contextmanager
    def open(self) -> Iterator[tuple[Access, KisClient, Clock]]:
        """Connect while the block runs; nothing is sent by that.

        Raises:
            ConfigError, StorageError: keys or folders cannot be used.
        """
        access = self.find_access()
        clock = self.find_clock()
        client = access.open(clock=clock)
        try:
            yield access, client, clock
        finally:
            client.close()
            if isinstance(clock, RemoteClock):
                clock.close()


def target_of(instance: Instance) -> Target:
    """Return the account of a living run."""
    row = instance.emulator

    def clock() -> Clock:
        return SystemClock() if row is None else RemoteClock(row)

    return Target(
        name=instance.id,
        state=Path(instance.state),
        mode=instance.mode,
        environment=Environment(instance.environment),
        instance=instance,
        find_access=instance.access,
        find_clock=clock,
    )


def kis_target(profile: str, environment: Environment) -> Target:
    """Return the account of a set of keys on the broker's server."""
    real = environment is Environment.REAL
    state = profile_folder(kis_server(environment), profile)
    return Target(
        name=f"{profile} ({environment})",
        state=state,
        mode="live" if real else "paper",
        environment=environment,
        instance=next((i for i in running() if i.state == str(state)), None),
        find_access=lambda: kis_access(profile, environment),
        find_clock=SystemClock,
    )


def emulator_target(ready_file: Path, environment: Environment) -> Target:
    """Return the account of an emulator that runs by itself.

    Raises:
        InputError: it is no ready file.
    """
    access = emulator_access(ready_file, environment)
    row = emulator_row(ready_file, environment)
    real = environment is Environment.REAL
    return Target(
        name=str(ready_file),
        state=access.state,
        mode="rehearsal" if real else "paper",
        environment=environment,
        instance=next((i for i in running() if i.state == str(access.state)), None),
        find_access=lambda: access,
        find_clock=lambda: RemoteClock(row),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a command line names.

    Attributes:
        run: id, mode, profile or folder of a living run; "" for the only one.
        profile: of keys instead; "" for none.
        environment: of these keys.
        emulator: ready file of an emulator instead.
    """

    run: str = ""
    profile: str = ""
    environment: Environment = Environment.MOCK
    emulator: Path | None = None


def find_target(choice: Choice) -> Target:
    """Return the one account a command is about.

    Raises:
        InputError: none, or several could be meant.
    """
    if choice.emulator is not None:
        return emulator_target(choice.emulator, choice.environment)
    if choice.profile:
        return kis_target(choice.profile, choice.environment)
    if not running() and not choice.run:
        raise InputError(_none_alive())
    return target_of(find_instance(choice.run))


def find_targets(choice: Choice) -> tuple[Target, ...]:
    """Return the accounts a halt is about: without a name every living run.

    Raises:
        InputError: no run is alive, and nothing is named.
    """
    if choice.run or choice.profile or choice.emulator is not None:
        return (find_target(choice),)
    found = tuple(target_of(instance) for instance in running())
    if not found:
        raise InputError(_none_alive())
    return found


def _none_alive() -> str:
    kept = [
        f"--profile {path.parent.name} --environment {path.parent.parent.name}"
        for path in sorted((state_folder() / "kis").glob("*/*/journal.db"))
    ]
    text = _("no run is alive on this machine")
    if kept:
        text += _("; accounts with a journal: {kept}").format(kept=", ".join(kept))
    return text

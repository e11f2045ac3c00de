"""What scripted faults do to the frames of a websocket."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from kisbt.emulator.faults import Fault, FaultPlan


class Outlet(Protocol):
    """Where frames go."""

    dead: bool

    def push(self, frame: str) -> None:
        """Queue a frame."""
        ...

    def cut(self) -> None:
        """End the connection without a farewell."""
        ...


# Actions on data frames, in the order in which they are looked at.
_ACTIONS = (
    "drop",
    "half_open",
    "mute",
    "corrupt",
    "width",
    "dup",
    "multi",
    "delay",
    "reorder",
)


class FrameFaults:
    """Hands frames on, broken where a fault says so."""

    def __init__(self, plan: FaultPlan) -> None:
        """Follow `plan`."""
        self._plan = plan
        self._held: dict[int, list[str]] = {}
        self._gathered: dict[tuple[int, str], list[str]] = {}

    def deliver(self, outlet: Outlet, names: tuple[str, ...], frame: str) -> None:
        """Hand a data frame to a session.

        Args:
            outlet: the session.
            names: under which faults may mean it: data, its TR id, its kind.
            frame: as it should go out.
        """
        if not self._plan.faults:
            outlet.push(frame)
            return
        held = self._held.pop(id(outlet), [])
        for action in _ACTIONS:
            fault = self._plan.strike("ws", names, do=action)
            if fault is not None:
                self._strike(fault, outlet, names, frame)
                break
        else:
            outlet.push(frame)
        for late in held:
            outlet.push(late)

    def _strike(
        self, fault: Fault, outlet: Outlet, names: tuple[str, ...], frame: str
    ) -> None:
        if fault.do == "drop":
            if fault.options.get("after"):
                outlet.push(frame)
            outlet.cut()
        elif fault.do == "half_open":
            outlet.dead = True
        elif fault.do == "dup":
            for _copy in range(int(fault.number("arg", 2))):
                outlet.push(frame)
        elif fault.do == "reorder":
            self._held[id(outlet)] = [frame]
        elif fault.do == "delay":
            self._later(fault, outlet, frame)
        elif fault.do == "multi":
            self._gather(fault, outlet, names[1], frame)
        elif fault.do in _CHANGES:
            outlet.push(_CHANGES[fault.do](fault, frame))

    @staticmethod
    def _later(fault: Fault, outlet: Outlet, frame: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(fault.number("arg", 1.0), outlet.push, frame)

    def _gather(self, fault: Fault, outlet: Outlet, tr_id: str, frame: str) -> None:
        """Pack several plain frames of a TR into one."""
        rows = self._gathered.setdefault((id(outlet), tr_id), [])
        rows.append(frame.split("|", 3)[3])
        last = len(rows) >= int(fault.number("arg", 3)) or fault.spent
        if frame.startswith("1|"):
            rows.clear()
            outlet.push(frame)  # an encrypted record cannot be joined
        elif last:
            outlet.push(f"0|{tr_id}|{len(rows):03}|{'^'.join(rows)}")
            rows.clear()


def _corrupt(fault: Fault, frame: str) -> str:
    """Return the frame with some characters replaced; the same for the same seed."""
    letters = list(frame)
    for _turn in range(max(1, len(letters) // 20)):
        letters[fault.dice.randrange(len(letters))] = fault.dice.choice("^|0Z{ �")
    return "".join(letters)


def change_width(fault: Fault, frame: str) -> str:
    """Return the frame with columns added to its end, or taken from it."""
    change = int(fault.number("arg", 1))
    if change >= 0:
        return frame + "^" * change
    return "^".join(frame.split("^")[:change])


_CHANGES: Mapping[str, Callable[[Fault, str], str]] = {
    "corrupt": _corrupt,
    "width": change_width,
}

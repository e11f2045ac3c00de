"""Who is told that a run gets on: the watchdog, and somebody outside."""

from collections.abc import Callable, Mapping
from typing import Any

from kisbt.app.sessionplan import Stage
from kisbt.notify import Pinger
from kisbt.orders.halt import Heartbeat, Pulse


def beating(
    heart: Heartbeat,
    holder: Mapping[str, Any],
    pinger: Pinger | None,
    stale_s: float,
) -> Callable[[], None]:
    """Return what tells the watchdog, and whoever else, that the run gets on.

    For the strategy's loop to call. While the trading loop hangs it stays silent as
    well: a strategy whose orders nobody sends or follows is not alive.

    Args:
        heart: takes the beats.
        holder: ``session``, and ``thread`` where the trading loop has one.
        pinger: tells somebody outside.
        stale_s: see `TradingThread.hangs`.
    """

    def beat() -> None:
        session, thread = holder.get("session"), holder.get("thread")
        if thread is not None and thread.hangs(stale_s):
            return
        trading = session is not None and session.stage in {Stage.OPEN, Stage.CLOSING}
        heart.beat(Pulse.OPEN if trading else Pulse.CLOSED)
        if pinger is not None:
            pinger.alive()

    return beat

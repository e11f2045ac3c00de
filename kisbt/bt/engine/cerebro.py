"""FastCerebro: `bt.Cerebro` whose backtest loop is the fast one where it can be."""

from typing import Any

import backtrader as bt

from kisbt.bt.engine.garbage import rare_collections
from kisbt.bt.engine.lean import lean_broker
from kisbt.bt.engine.loop import Loop
from kisbt.bt.engine.once import compute_all
from kisbt.bt.engine.plan import NotPossible, check_options, make_plan
from kisbt.text import _


class FastCerebro(bt.Cerebro):
    """backtrader's Cerebro with a quicker loop and the same results to the bit.

    Use it in place of `bt.Cerebro`. A run that it cannot take goes through the
    plain loop; `fallback` then says why.

    Attributes:
        engine: ``fast`` or ``plain``, of the last run.
        fallback: why the last run was plain, for people; None when it was fast.
    """

    engine = "plain"
    fallback: str | None = None

    @rare_collections()
    def runstrategies(self, *args: Any, **kwargs: Any) -> Any:
        """Make the strategies and run them; their indicators are no garbage."""
        return super().runstrategies(*args, **kwargs)

    def _runonce(self, runstrats: list[Any]) -> None:
        self.engine, self.fallback = "fast", None
        try:
            check_options(self, runstrats)
        except NotPossible as reason:
            self._fall_back(str(reason))
            super()._runonce(runstrats)
            return
        for strategy in runstrats:
            compute_all(strategy)
            strategy.reset()
        try:
            plan = make_plan(self, runstrats)
        except NotPossible as reason:
            self._fall_back(str(reason))
            self._plain_loop(runstrats)
            return
        loop = Loop(self, runstrats, plan)
        try:
            with lean_broker(self._broker, self.datas):
                loop.run()
        finally:
            loop.restore()

    def _plain_loop(self, runstrats: list[Any]) -> None:
        """Run the plain loop over indicators that are computed already."""
        for strategy in runstrats:
            strategy._once = strategy.reset = _nothing
        try:
            super()._runonce(runstrats)
        finally:
            for strategy in runstrats:
                del strategy._once, strategy.reset

    def _runnext(self, runstrats: list[Any]) -> None:
        self._fall_back(self._why_bar_by_bar())
        super()._runnext(runstrats)

    def _why_bar_by_bar(self) -> str:
        if self._exactbars:
            return _("Cerebro({name}=...) is set").format(name="exactbars")
        if self._doreplay:
            return _("a feed is resampled or replayed")
        if self._dolive or self.p.live:
            return _("a feed is live")
        if not self.p.runonce or not self.p.preload:
            return _("Cerebro(runonce=False) or Cerebro(preload=False) is set")
        return _("an indicator has to be computed bar by bar")

    def _runonce_old(self, runstrats: list[Any]) -> None:
        self._fall_back(_("Cerebro({name}=...) is set").format(name="oldsync"))
        super()._runonce_old(runstrats)

    def _runnext_old(self, runstrats: list[Any]) -> None:
        self._fall_back(_("Cerebro({name}=...) is set").format(name="oldsync"))
        super()._runnext_old(runstrats)

    def _fall_back(self, reason: str) -> None:
        self.engine, self.fallback = "plain", reason


def _nothing() -> None:
    """Stand in for what is done already."""

# %% [markdown]
# # A backtest from Python
# Each block is one cell: open this file in an editor that knows `# %%`, or paste
# the cells into a notebook. The candles are the bundled synthetic ones.

# %%
from pathlib import Path

import backtrader as bt

import kisbt

ROOT = Path(__file__).resolve().parent.parent


# %% [markdown]
# ## A strategy: any `bt.Strategy`
# `whole_shares` asks the broker what a market buy may cost; `reason=` comes back
# in every table.


# %%
class GoldenCross(bt.Strategy):
    """Hold a fifth of the equity while the fast average is above the slow one."""

    params = (("fast", 20), ("slow", 60))

    def __init__(self):
        """Make the indicators."""
        fast = bt.ind.SMA(period=self.p.fast)
        slow = bt.ind.SMA(period=self.p.slow)
        self.cross = bt.ind.CrossOver(fast, slow)

    def next(self):
        """Decide at each close."""
        if not self.position and self.cross > 0:
            size = kisbt.whole_shares(self, self.data, 0.2 * self.broker.getvalue())
            self.buy(size=size, reason="golden cross")
        elif self.position and self.cross < 0:
            self.close(reason="dead cross")


# %% [markdown]
# ## Run it
# The mapping is the content of a configuration file; what is left out keeps its
# default.

# %%
config = {
    "strategy": {"class": "docs.notebook:GoldenCross", "params": {"slow": 120}},
    "universe": {"symbols": ["990001"]},
    "data": {"path": str(ROOT / "data")},
    "report": {"benchmark": "990100"},
}
run = kisbt.backtest(config, strategy=GoldenCross)
print(f"closed trades: {len(run.result.trades)}")

# %% [markdown]
# ## Look at it
# Every table of the run folder as a DataFrame.

# %%
frames = run.frames()
print(frames["trades"][["entry_time", "exit_time", "net_pnl", "exit_reason"]].tail(3))
print(frames["equity"]["equity"].resample("YE").last().round().astype(int))

# %% [markdown]
# ## Keep it
# `run.save("runs/golden-cross")` writes the run folder with its HTML report.

"""The fast engine: backtrader's backtest loop with another body, equal to the bit."""

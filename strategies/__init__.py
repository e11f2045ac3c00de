"""Examples: one idea a file, plain backtrader strategies."""

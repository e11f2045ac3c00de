"""Candle history: import, store, check, resample."""

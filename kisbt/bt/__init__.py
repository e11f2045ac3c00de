"""Adapters to backtrader."""

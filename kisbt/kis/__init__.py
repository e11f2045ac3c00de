"""The KIS Open API client; knows no backtrader, pandas or journal."""

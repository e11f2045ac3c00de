"""The words that the page's script shows."""

from kisbt.text import _


def page_words() -> dict[str, str]:
    """Return the script's texts in the language in force."""
    return {
        "equity": _("Strategy"),
        "benchmark": _("Benchmark"),
        "hold": _("Buy and hold"),
        "drawdown": _("Drawdown"),
        "exposure": _("Exposure"),
        "open": _("Open"),
        "high": _("High"),
        "low": _("Low"),
        "close": _("Close"),
        "volume": _("Volume"),
        "price": _("Price"),
        "buy": _("Buy"),
        "sell": _("Sell"),
        "wonAmount": _("{amount} won"),
        "symbol": _("Symbol"),
        "entryTime": _("Entry"),
        "entryPrice": _("Entry price"),
        "exitTime": _("Exit"),
        "exitPrice": _("Exit price"),
        "quantity": _("Quantity"),
        "gross": _("Before costs"),
        "costs": _("Costs"),
        "net": _("Net result"),
        "returnPct": _("Return"),
        "bars": _("Bars"),
        "entryReason": _("Entry reason"),
        "exitReason": _("Exit reason"),
        "noReason": _("(none)"),
        "showOnChart": _("Show on the chart"),
        "noTrades": _("No trade matches."),
        "rows": _("{first}–{last} of {total} trades"),
        "sum": _("net result {net}"),
        "copied": _("Copied {count} rows."),
        "copyFailed": _("The browser refused to copy."),
        "noSymbols": _("No symbol matches."),
        "noCandles": _("There are no candles of this symbol to draw."),
        "tradesOf": _("{count} trades"),
        "barsGrouped": _("{count} bars per candle"),
        "tooOld": _(
            "This browser cannot unpack the charts. Use Chrome or Edge 80, Firefox "
            "113, Safari 16.4 or newer."
        ),
    }

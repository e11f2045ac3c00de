"""What really is, as the control plane tells it: the oracle of tests."""

from typing import Any

from kisbt.emulator.account import Account
from kisbt.emulator.answers import order_text
from kisbt.emulator.house import House
from kisbt.emulator.market import Listing
from kisbt.emulator.orders import WorkOrder
from kisbt.emulator.pump import Pump
from kisbt.emulator.side import ServerSide
from kisbt.emulator.streams import StreamHub


def state_of(house: House, pump: Pump, *, calls: bool) -> dict[str, Any]:
    """Return everything there is to know, as plain values.

    Args:
        house: the market and its servers.
        pump: of its time.
        calls: list every call the servers saw.
    """
    found: dict[str, Any] = {
        "clock": clock_of(house, pump),
        "book": {
            symbol: _listing(listing)
            for symbol, listing in house.floor.listings.items()
        },
    }
    for environment, side in house.sides.items():
        found[str(environment)] = _side(side, house.hubs[environment], calls=calls)
    return found


def clock_of(house: House, pump: Pump) -> dict[str, Any]:
    """Return the time and how it passes."""
    coming = house.engine.next_time
    candle = house.engine.next_candle_end()
    last = house.last_session
    return {
        "now": house.floor.now.isoformat(),
        "started": house.started.isoformat(),
        "speed": pump.speed,
        "step": house.settings.step,
        "paused": pump.paused,
        "finished": house.engine.finished,
        "last_session": last.isoformat() if last else None,
        "next": coming.isoformat() if coming else None,
        "next_candle": candle.isoformat() if candle else None,
        "limits": "virtual" if house.settings.counts_virtual else "wall",
        "frames_sent": {
            environment.value: hub.sent for environment, hub in house.hubs.items()
        },
    }


def _listing(listing: Listing) -> dict[str, Any]:
    return {
        "last": listing.last,
        "open": listing.open,
        "high": listing.high,
        "low": listing.low,
        "volume": listing.volume,
        "base": listing.base,
        "halted": listing.halted,
    }


def _side(side: ServerSide, hub: StreamHub, *, calls: bool) -> dict[str, Any]:
    exchange = side.exchange
    found: dict[str, Any] = {
        "account": _account(exchange.account),
        "orderable_cash": exchange.orderable_cash,
        "orders": [order_as_json(order) for order in exchange.orders],
        "fills": [
            {
                "number": order_text(fill.number),
                "session": order.session.isoformat(),
                "symbol": fill.symbol,
                "side": str(fill.side),
                "quantity": fill.quantity,
                "price": fill.price,
                "commission": fill.commission,
                "tax": fill.tax,
                "time": fill.time.isoformat(),
            }
            for order in exchange.orders
            for fill in order.fills
        ],
        "stream": {
            "connects": hub.connects,
            "sessions": len(hub.sessions),
            "registrations": hub.registrations,
            "sent": hub.sent,
        },
        "calls": dict(side.counts),
        "tokens_issued": side.tokens.issues,
        "limit": {
            "per_second": side.limit.per_second,
            "taken": side.limit.taken,
            "refused": side.limit.refused,
            "busiest_second": side.limit.busiest,
        },
    }
    if calls:
        found["call_log"] = [
            {
                "at_s": call.at_s,
                "time": call.time.isoformat(),
                "name": call.name,
                "tr_id": call.tr_id,
                "code": call.code,
                "body": dict(call.body),
            }
            for call in side.calls
        ]
    return found


def _account(account: Account) -> dict[str, Any]:
    return {
        "number": account.number,
        "hts_id": account.hts_id,
        "cash": account.cash,
        "cash_in_two_days": account.cash_in_two_days,
        "holdings": {
            symbol: {"quantity": holding.quantity, "average": holding.average}
            for symbol, holding in account.holdings.items()
            if holding.quantity
        },
    }


def order_as_json(order: WorkOrder) -> dict[str, Any]:
    """Return an order as plain values."""
    ticket = order.ticket
    return {
        "number": order_text(order.number),
        "original": order_text(order.original),
        "act": str(order.act),
        "session": order.session.isoformat(),
        "created": order.created.isoformat(),
        "symbol": ticket.symbol,
        "side": str(ticket.side),
        "kind": str(ticket.order_kind),
        "venue": str(ticket.venue),
        "channel": ticket.channel,
        "quantity": order.quantity,
        "price": order.price,
        "state": str(order.state),
        "filled": order.filled,
        "amount": order.amount,
        "taken": order.taken,
        "rejected": order.rejected,
        "open": order.open_quantity,
    }

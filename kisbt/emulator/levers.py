"""What can be done to an emulated market from outside: faults, accounts, orders."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

from kisbt.emulator.exchange import Exchange
from kisbt.emulator.faults import Fault, FaultPlan
from kisbt.emulator.house import House
from kisbt.emulator.market import Listing, Trade
from kisbt.emulator.orders import State, Ticket, WorkOrder
from kisbt.emulator.pump import Pump
from kisbt.emulator.side import ServerSide
from kisbt.emulator.truth import clock_of, order_as_json
from kisbt.errors import InputError
from kisbt.model.order import OrderKind, Side, Venue
from kisbt.text import _

_VI_S = 120
_ON_ORDERS = ("partial", "reject", "cancel", "route")


class Restarts(Protocol):
    """Where connections are accepted."""

    async def restart(self, *, seconds: float) -> None:
        """End every connection and accept none for some seconds."""
        ...


class Levers:
    """Changes to a running emulator."""

    def __init__(self, house: House, pump: Pump) -> None:
        """Act on `house`."""
        self._house = house
        self._pump = pump
        for side in house.sides.values():
            side.exchange.accepted = _OrderFaults(side)

    def time(self) -> dict[str, Any]:
        """Return the time and how it passes."""
        return clock_of(self._house, self._pump)

    # Faults.

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults in force."""
        return [
            {"environment": str(environment), **fault.as_json()}
            for environment, side in self._house.sides.items()
            for fault in side.faults.faults
        ]

    def clear_faults(self) -> None:
        """Break nothing any more."""
        for side in self._house.sides.values():
            side.faults.clear()
            side.quirks.daily_ccld_empty = False
            side.quirks.page_size = None
            side.exchange.ledger_lag_s = side.exchange.balance_lag_s = 0.0
        self._house.skew_s = 0.0

    async def apply(self, fault: Fault, ports: Restarts) -> None:
        """Script a fault on the servers it names, or carry it out at once.

        Raises:
            InputError: an option of it makes no sense.
        """
        if fault.verb == "clock":
            await self._clock(fault)
            return
        if fault.verb == "http" and fault.do == "refuse":
            seconds = fault.number("arg", fault.number("seconds", 1.0))
            asyncio.get_running_loop().create_task(ports.restart(seconds=seconds))
            return
        if (fault.verb, fault.do) == ("ws", "flood"):
            self._flood(fault)
            return
        if fault.verb == "ex" and fault.do not in _ON_ORDERS:
            self._exchange(fault)
            return
        for side in self._sides(fault.options.pop("environment", None)):
            self._script(fault, side)

    def _sides(self, name: object) -> list[ServerSide]:
        sides = self._house.sides
        if name is None:
            return list(sides.values())
        return [self.side(str(name))]

    def side(self, name: str = "") -> ServerSide:
        """Return a server by its environment; the first one without a name.

        Raises:
            InputError: there is no such server.
        """
        sides = self._house.sides
        if not name:
            return next(iter(sides.values()))
        for environment, side in sides.items():
            if environment.value == name:
                return side
        raise InputError(
            _("environment {found!r}: expected one of {known}").format(
                found=name, known=", ".join(sides)
            )
        )

    def _script(self, fault: Fault, side: ServerSide) -> None:
        acts = {
            ("token", "ttl"): self._set_token_life,
            ("token", "per_min"): self._set_token_pause,
            ("token", "revoke"): lambda _f, s: s.tokens.revoke_all(),
            ("token", "forget_approval"): lambda _f, s: s.tokens.forget_approvals(),
            ("lag", "ledger"): self._set_lag,
            ("lag", "balance"): self._set_lag,
            ("quirk", "late_balance"): self._set_lag,
            ("quirk", "daily_ccld_empty"): self._set_empty,
            ("page", "size"): self._set_page,
        }
        act = acts.get((fault.verb, fault.do))
        if act is None:
            side.faults.add(fault)
        else:
            act(fault, side)

    @staticmethod
    def _set_token_life(fault: Fault, side: ServerSide) -> None:
        side.tokens.life_s = fault.number("arg", 86_400)
        side.tokens.shorten(side.times.limit_s() + side.tokens.life_s)

    @staticmethod
    def _set_token_pause(fault: Fault, side: ServerSide) -> None:
        side.tokens.every_s = fault.number("arg", 60)

    @staticmethod
    def _set_lag(fault: Fault, side: ServerSide) -> None:
        if fault.do == "ledger":
            side.exchange.ledger_lag_s = fault.number("seconds", 5.0)
            return
        on = fault.options.get("on", True)
        seconds = fault.number("seconds", 5.0)
        side.exchange.balance_lag_s = seconds if on else 0.0

    @staticmethod
    def _set_empty(fault: Fault, side: ServerSide) -> None:
        side.quirks.daily_ccld_empty = bool(fault.options.get("on", True))

    @staticmethod
    def _set_page(fault: Fault, side: ServerSide) -> None:
        side.quirks.page_size = max(1, int(fault.number("arg", 15)))

    def _flood(self, fault: Fault) -> None:
        """Trade as often as asked at the last price, one share each."""
        count = int(fault.number("arg", 1_000))
        floor, engine = self._house.floor, self._house.engine
        wanted = fault.word("symbol")
        listings = [
            item
            for item in floor.listings.values()
            if item.tradable and item.last > 0 and wanted in {"", item.symbol}
        ]
        for number in range(count if listings else 0):
            listing = listings[number % len(listings)]
            last = Side.BUY if number % 2 else Side.SELL
            engine.insert(Trade(listing.symbol, floor.now, listing.last, 1, last))

    async def _clock(self, fault: Fault) -> None:
        if fault.do == "jump":
            seconds = timedelta(seconds=fault.number("arg", 60.0))
            await self._pump.advance(self._house.floor.now + seconds)
        elif fault.do == "pause":
            self._pump.pause(on=bool(fault.options.get("arg", True)))
        elif fault.do == "speed":
            self._pump.set_speed(fault.number("arg", 1.0))
        else:
            self._house.skew_s = fault.number("arg", 0.0)

    # The exchange itself.

    def _exchange(self, fault: Fault) -> None:
        if fault.do == "external":
            self.external_order(fault.options)
        elif fault.do == "expire":
            for side in self._house.sides.values():
                side.exchange.expire_all()
        else:
            listing = self._listing(fault)
            _ON_LISTING[fault.do](self._house, listing, fault)
        self._house.flush()

    def _listing(self, fault: Fault) -> Listing:
        wanted = fault.options.get("symbol", fault.options.get("arg", ""))
        symbol = str(wanted).zfill(6)
        found = self._house.floor.listings.get(symbol)
        if found is None:
            raise InputError(
                _("fault ex({do}): no symbol {found!r} is listed").format(
                    do=fault.do, found=wanted
                )
            )
        return found

    # Accounts and orders of others.

    def set_account(self, asked: Mapping[str, Any]) -> None:
        """Replace cash or holdings of an account: a transfer, not a trade.

        Raises:
            InputError: something in it makes no sense.
        """
        account = self.side(str(asked.get("environment", ""))).exchange.account
        holdings = asked.get("holdings", {})
        if not isinstance(holdings, Mapping):
            raise InputError(_("holdings: expected quantities by symbol"))
        rows = {str(code): _holding(value) for code, value in holdings.items()}
        if "cash" in asked:
            account.cash = _count(asked, "cash")
        for symbol, (quantity, average) in rows.items():
            account.set_holding(symbol, quantity, average)

    def external_order(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Order, amend or cancel as another of the customer's programs would.

        Raises:
            InputError: something in it makes no sense.
            OrderRefused: the exchange did not take it.
        """
        exchange = self.side(str(asked.get("environment", ""))).exchange
        if "cancel" in asked:
            order = exchange.cancel(_count(asked, "cancel"), quantity=None)
        elif "amend" in asked:
            order = exchange.amend(
                _count(asked, "amend"), quantity=None, price=_count(asked, "price")
            )
        else:
            order = exchange.submit(_ticket(asked))
        return order_as_json(order)

    def forget(self, names: Iterable[str]) -> None:
        """Lose what a server loses when it restarts: ``tokens``, ``approvals``."""
        for side in self._house.sides.values():
            if "tokens" in names:
                side.tokens.revoke_all()
            if "approvals" in names:
                side.tokens.forget_approvals()


class _OrderFaults:
    """Scripted fates of orders, looked up when one is accepted."""

    def __init__(self, side: ServerSide) -> None:
        self._plan: FaultPlan = side.faults
        self._exchange: Exchange = side.exchange

    def __call__(self, order: WorkOrder) -> None:
        names = ("order", order.ticket.symbol, str(order.ticket.side))
        route = self._plan.strike("ex", names, do="route")
        if route is not None:
            # As the smart router does: the order now lies at that venue, and only
            # a cancellation that names it finds it.
            venue = Venue(route.word("arg", str(Venue.NXT)))
            order.ticket = replace(order.ticket, venue=venue)
        if self._plan.strike("ex", names, do="reject"):
            self._exchange.reject(order)
        elif self._plan.strike("ex", names, do="cancel"):
            self._exchange.withdraw(order)
        else:
            partial = self._plan.strike("ex", names, do="partial")
            if partial is not None:
                self._fill_parts(order, partial)

    def _fill_parts(self, order: WorkOrder, fault: Fault) -> None:
        listing = self._exchange.floor.listings[order.ticket.symbol]
        price = order.price or int(listing.last)
        for name in ("arg", "arg2", "arg3"):
            quantity = int(fault.number(name, 0))
            if quantity > 0 and order.state is State.WORKING:
                self._exchange.fill(order, quantity, price)


def _halt(house: House, listing: Listing, fault: Fault) -> None:
    del house, fault
    listing.halted = True


def _resume(house: House, listing: Listing, fault: Fault) -> None:
    del house, fault
    listing.halted, listing.locked = False, None


def _interrupt(house: House, listing: Listing, fault: Fault) -> None:
    """Stop a symbol for two minutes: a volatility interruption."""
    seconds = fault.number("arg2", _VI_S)
    listing.halted = True
    listing.halted_until = house.floor.now + timedelta(seconds=seconds)


def _lock(house: House, listing: Listing, fault: Fault) -> None:
    del house
    side = fault.word("arg2", fault.word("side", "buy"))
    listing.locked = Side.SELL if side == "sell" else Side.BUY


def _delist(house: House, listing: Listing, fault: Fault) -> None:
    del fault
    listing.delisted = True
    for side in house.sides.values():
        side.exchange.withdraw_symbol(listing.symbol)


def _split(house: House, listing: Listing, fault: Fault) -> None:
    new = int(fault.number("arg2", 2))
    old = int(fault.number("arg3", 1))
    if new < 1 or old < 1:
        raise InputError(_("fault ex(split): expected two numbers above zero"))
    for side in house.sides.values():
        side.exchange.withdraw_symbol(listing.symbol)
        side.exchange.account.rebase(listing.symbol, new=new, old=old)


_ON_LISTING = {
    "halt": _halt,
    "resume": _resume,
    "vi": _interrupt,
    "limit_lock": _lock,
    "delist": _delist,
    "split": _split,
}


def _count(asked: Mapping[str, Any], name: str) -> int:
    value = asked.get(name)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(
            _("{name} {found!r}: expected a whole number").format(
                name=name, found=value
            )
        )
    return value


def _holding(value: object) -> tuple[int, float]:
    if isinstance(value, Mapping):
        return _count(value, "quantity"), float(value.get("average", 0) or 0)
    return _count({"quantity": value}, "quantity"), 0.0


def _ticket(asked: Mapping[str, Any]) -> Ticket:
    try:
        side = Side(str(asked.get("side", "buy")))
        kind = OrderKind(
            str(asked.get("kind", "limit" if asked.get("price") else "market"))
        )
        venue = Venue(str(asked.get("venue", "KRX")))
    except ValueError as error:
        raise InputError(str(error)) from error
    return Ticket(
        symbol=str(asked.get("symbol", "")).zfill(6),
        side=side,
        quantity=_count(asked, "quantity"),
        price=_count(asked, "price") if asked.get("price") else 0,
        order_kind=kind,
        venue=venue,
        # Source: rows of public logs; orders of the app say so.
        channel=str(asked.get("channel", "Nsmart")),
    )

"""What kisbt owns by its journal, and what of the account is not kisbt's."""

from collections.abc import Mapping
from datetime import date, datetime

from kisbt.model.order import Side
from kisbt.orders import decode
from kisbt.orders.database import Database
from kisbt.orders.decode import micros, order_key
from kisbt.orders.lifecycle import (
    Status,
)
from kisbt.orders.records import Holding
from kisbt.orders.rows import (
    ExternalOrder,
    Freeze,
    Mark,
    RunRecord,
    Snapshot,
)

_RESULTS = frozenset(
    {
        Status.ACKED,
        Status.REFUSED,
        Status.CLAIMED,
        Status.UNKNOWN,
        Status.NOT_SENT,
        Status.INTENT,
    }
)


class OwnedBook(Database):
    """Runs, cash and shares, own and outside."""

    def begin_run(
        self,
        *,
        run_id: str,
        version: str,
        config_hash: str,
        mode: str,
        account: str,
        capital: int,
    ) -> RunRecord:
        """Begin a run (W0); the first one gives the strategy its cash.

        A capital other than last time's moves the cash by the difference, as an
        audited adjustment.

        Args:
            run_id: name of the run folder.
            version: of kisbt.
            config_hash: of the configuration.
            mode: ``paper``, ``live`` ...
            account: masked.
            capital: won.
        """
        with self.together():
            before = self._number("capital")
            self._run_sql(
                "INSERT INTO runs (run_id, started, version, config_hash, mode, account,"
                " capital) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    run_id,
                    micros(self._clock.now()),
                    version,
                    config_hash,
                    mode,
                    account,
                    capital,
                ),
            )
            self._event("run", run_id=run_id, version=version, config=config_hash)
            if before != capital:
                self._set_number("capital", capital)
                self._adjust("", capital - (before or 0), 0, 0.0, "capital")
            self._marks.append(Mark.RUN)
        return self.runs()[-1]

    def end_run(self, exit_state: str) -> None:
        """Note how the run that was begun last has ended."""
        with self.together():
            self._run_sql(
                "UPDATE runs SET ended = ?, exit_state = ? WHERE number ="
                " (SELECT max(number) FROM runs)",
                (micros(self._clock.now()), exit_state),
            )
            self._event("run_ended", state=exit_state)

    def runs(self) -> tuple[RunRecord, ...]:
        """Return every run, oldest first."""
        return tuple(
            decode.run(row) for row in self._all("SELECT * FROM runs ORDER BY number")
        )

    def cash(self) -> int:
        """Return the strategy's own cash, won; 0 before the first run."""
        return self._number("cash") or 0

    def positions(self) -> tuple[Holding, ...]:
        """Return what kisbt owns, by symbol, without empty ones."""
        rows = self._all(
            "SELECT symbol, quantity, average FROM positions WHERE quantity != 0"
            " ORDER BY symbol"
        )
        return tuple(
            Holding(symbol=row[0], quantity=row[1], average=row[2]) for row in rows
        )

    def holding(self, symbol: str) -> Holding:
        """Return what kisbt owns of a symbol, which may be nothing."""
        row = self._one(
            "SELECT quantity, average FROM positions WHERE symbol = ?", symbol
        )
        quantity, average = row or (0, 0.0)
        return Holding(symbol=symbol, quantity=quantity, average=average)

    def snapshot(self, *, delivered: bool = False) -> Snapshot:
        """Return cash and holdings, as of now or as the strategy knows them.

        Args:
            delivered: without the fills and corrections the strategy has not heard
                of yet: what a broker starts from that is then told those events.
        """
        with self._lock:
            cash, owned = self.cash(), self.positions()
            last = self._one("SELECT coalesce(max(sequence), 0) FROM events")[0]
            if not delivered:
                return Snapshot(sequence=last, cash=cash, holdings=owned)
            since = self.delivered_to()
            rows = self._all(
                "SELECT o.symbol, o.side, f.quantity, f.amount,"
                " f.commission + f.tax, f.average_before FROM fills f"
                " JOIN orders o USING (ref) WHERE f.sequence > ? AND o.origin ="
                " 'strategy' ORDER BY f.sequence DESC",
                since,
            )
        held = {holding.symbol: holding for holding in owned}
        for symbol, side, quantity, amount, costs, average in rows:
            sign = 1 if side == Side.BUY else -1
            cash += costs + sign * amount
            now = held.get(symbol)
            held[symbol] = Holding(
                symbol=symbol,
                quantity=(now.quantity if now else 0) - sign * quantity,
                average=average,
            )
        known = tuple(held[name] for name in sorted(held) if held[name].quantity)
        return Snapshot(sequence=since, cash=cash, holdings=known)

    def delivered_to(self) -> int:
        """Return the sequence up to which the strategy has heard everything."""
        return self._number("delivered") or 0

    def adopted(self, symbol: str) -> int:
        """Return how many shares of the account were taken over so far."""
        row = self._one("SELECT quantity FROM adopted WHERE symbol = ?", symbol)
        return 0 if row is None else int(row[0])

    def adopt(self, symbol: str, quantity: int, average: float) -> int:
        """Make `quantity` shares of the account kisbt's own, in total.

        Only what was not adopted before is added; a smaller number gives shares
        back, as far as they are still held.

        Args:
            symbol: six characters.
            quantity: shares, the number in the configuration.
            average: won a share they cost, for the shares that are added.

        Returns:
            Shares added; negative when given back.
        """
        with self.together():
            row = self._one("SELECT quantity FROM adopted WHERE symbol = ?", symbol)
            change = quantity - (row[0] if row else 0)
            if change < 0:
                change = -min(-change, max(0, self.holding(symbol).quantity))
            if quantity != (row[0] if row else 0):
                self._run_sql(
                    "INSERT INTO adopted VALUES (?, ?) ON CONFLICT (symbol) DO UPDATE"
                    " SET quantity = excluded.quantity",
                    (symbol, quantity),
                )
            if change:
                self._adjust(symbol, 0, change, average, "adopt")
        return change

    def adjust(
        self,
        *,
        symbol: str = "",
        cash: int = 0,
        quantity: int = 0,
        average: float | None = None,
        why: str,
    ) -> None:
        """Change cash or a holding by hand, audited.

        Args:
            symbol: of the holding; "" for cash alone.
            cash: won added.
            quantity: shares added.
            average: won a share of the whole holding afterwards (a split); None
                keeps the rule of fills: bought shares at 0, sold shares unchanged.
            why: for people.
        """
        with self.together():
            self._adjust(symbol, cash, quantity, 0.0, why)
            if average is not None:
                self._run_sql(
                    "UPDATE positions SET average = ? WHERE symbol = ?",
                    (average, symbol),
                )

    def _adjust(
        self, symbol: str, cash: int, quantity: int, price: float, why: str
    ) -> None:
        sequence = self._event(
            "audit", symbol=symbol, cash=cash, quantity=quantity, price=price, why=why
        )
        held, average = self._move_position(symbol, quantity, price)
        self._run_sql(
            "INSERT INTO adjustments VALUES (?, ?, ?, ?, ?, ?, ?)",
            (sequence, symbol, cash, quantity, held, average, why),
        )
        if cash:
            self._set_number("cash", self.cash() + cash)

    def _move_position(
        self, symbol: str, quantity: int, price: float
    ) -> tuple[int, float]:
        """Add shares; return the holding as it was before."""
        row = self._one(
            "SELECT quantity, average FROM positions WHERE symbol = ?", symbol
        )
        held, average = row or (0, 0.0)
        if quantity:
            after = held + quantity
            self._run_sql(
                "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT (symbol) DO UPDATE"
                " SET quantity = excluded.quantity, average = excluded.average",
                (symbol, after, decode.average_after(held, average, quantity, price)),
            )
        return held, average

    def note_external(self, order: ExternalOrder) -> bool:
        """Keep an order kisbt did not make, or its new level; True when it is new."""
        with self.together():
            key = (order.day.isoformat(), order_key(order.number), order.branch)
            row = self._one(
                "SELECT filled FROM externals WHERE day = ? AND key = ? AND branch = ?",
                *key,
            )
            if row is not None and row[0] >= order.filled:
                return False
            self._run_sql(
                "INSERT INTO externals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET filled = excluded.filled",
                (
                    *key,
                    order.symbol,
                    order.side,
                    order.quantity,
                    order.filled,
                    order.channel,
                    int(order.told),
                ),
            )
            self._event(
                "external",
                number=key[1],
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                filled=order.filled,
                channel=order.channel,
            )
        return row is None

    def externals(self, day: date | None = None) -> tuple[ExternalOrder, ...]:
        """Return orders kisbt did not make, of a day or all."""
        where = "" if day is None else " WHERE day = ?"
        values = () if day is None else (day.isoformat(),)
        rows = self._all(
            f"SELECT * FROM externals{where} ORDER BY day, key",  # noqa: S608
            *values,
        )
        return tuple(decode.external(row) for row in rows)

    def external_told(self, order: ExternalOrder) -> None:
        """Note that a person has been told of an external order."""
        with self.together():
            self._run_sql(
                "UPDATE externals SET told = 1 WHERE day = ? AND key = ?"
                " AND branch = ?",
                (order.day.isoformat(), order_key(order.number), order.branch),
            )

    def outside(self) -> dict[str, int]:
        """Return the shares of the account that are not kisbt's, as last agreed."""
        return dict(self._all("SELECT symbol, quantity FROM outside ORDER BY symbol"))

    def set_outside(self, quantities: Mapping[str, int], why: str) -> None:
        """Replace what `outside` says; audited when it differs."""
        wanted = {name: count for name, count in quantities.items() if count}
        before = self.outside()
        if wanted == before:
            return
        with self.together():
            self._run_sql("DELETE FROM outside")
            for symbol, quantity in wanted.items():
                self._run_sql("INSERT INTO outside VALUES (?, ?)", (symbol, quantity))
            changed = {
                name: [before.get(name, 0), wanted.get(name, 0)]
                for name in sorted(before.keys() | wanted.keys())
                if before.get(name, 0) != wanted.get(name, 0)
            }
            self._event("outside", why=why, changed=changed)

    def freeze(self, symbol: str, reason: str, until: datetime | None = None) -> None:
        """Freeze a symbol; of two times the later one counts, None longest."""
        with self.together():
            row = self._one("SELECT until FROM freezes WHERE symbol = ?", symbol)
            if row is not None and (
                row[0] is None or (until is not None and micros(until) <= row[0])
            ):
                return
            self._run_sql(
                "INSERT INTO freezes VALUES (?, ?, ?, ?) ON CONFLICT (symbol) DO UPDATE"
                " SET reason = excluded.reason, until = excluded.until",
                (
                    symbol,
                    reason,
                    micros(self._clock.now()),
                    None if until is None else micros(until),
                ),
            )
            self._event("frozen", symbol=symbol, reason=reason)

    def thaw(self, symbol: str, by: str) -> None:
        """Let a symbol be traded again; nothing happens if it is not frozen."""
        with self.together():
            cursor = self._run_sql("DELETE FROM freezes WHERE symbol = ?", (symbol,))
            if cursor.rowcount:
                self._event("thawed", symbol=symbol, by=by)

    def frozen(self) -> dict[str, Freeze]:
        """Return the symbols frozen now."""
        now = self._clock.now()
        found = (decode.freeze(row) for row in self._all("SELECT * FROM freezes"))
        return {f.symbol: f for f in found if f.until is None or f.until > now}

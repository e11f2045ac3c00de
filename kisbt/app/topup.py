"""History up to yesterday from the broker, before a session.

What the store lacks of the warm-up is fetched; the rest of it is not asked for again.
The broker's practice server has no minutes of past days: there the store must have
them, or the indicators fill as the session goes on, and the run says for how long.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date

from kisbt.app.history import LivePlan
from kisbt.app.venue import Venue
from kisbt.candles.columns import CandleColumns
from kisbt.candles.download import Downloader, FetchReport
from kisbt.clock import Clock
from kisbt.errors import AuthError, DataError, KisRefused, RateLimited
from kisbt.model.account import Environment
from kisbt.model.candle import DAILY, Interval
from kisbt.orders.alarms import freeze, pause
from kisbt.orders.deskstate import Desk
from kisbt.text import _

log = logging.getLogger(__name__)

Say = Callable[[str], None]

_TELL_S = 15.0  # between two lines of progress
_SESSION_MINUTES = 390  # of a regular session, its last auction included
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ToppedUp:
    """What became of the history.

    Attributes:
        rebased: symbols whose adjusted past had changed: a split, a rights issue.
        problems: why the candles of a symbol could not be fetched, by symbol.
        unavailable: the server has no past candles of this kind at all.
        added: candles.
    """

    rebased: tuple[str, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)
    unavailable: bool = False
    added: int = 0


def top_up(plan: LivePlan, venue: Venue, *, say: Say) -> ToppedUp:
    """Bring the candles before a run's first session into its store.

    The calls go through the client of market data, so that they count in the same
    rate as all others.

    Args:
        plan: whose store, symbols and warm-up.
        venue: whose market data.
        say: takes a line of progress for people.

    Raises:
        KisError: the broker cannot be reached or refuses the keys.
        StorageError: the store cannot be written.
    """
    interval = plan.config.bars.length
    if not interval.is_daily and venue.data.environment is Environment.MOCK:
        return ToppedUp(unavailable=True)
    first = first_session(plan.session, interval, plan.config.data.warmup, plan)
    last = plan.calendar.previous_session(plan.session)
    return _fetch(plan, venue, first, last, say)


def first_session(
    session: date, interval: Interval, warmup: int, plan: LivePlan
) -> date:
    """Return the session with which the warm-up begins, if none is without trades."""
    per_session = 1
    if not interval.is_daily:
        per_session = max(1, _SESSION_MINUTES // (interval.minutes or 1))
    day = session
    for _number in range(-(-warmup // per_session)):
        day = plan.calendar.previous_session(day)
    return day


def _fetch(plan: LivePlan, venue: Venue, first: date, last: date, say: Say) -> ToppedUp:
    interval = plan.config.bars.length
    if plan.config.data.warmup == 0 or first > last:
        return ToppedUp()
    progress = _Progress(plan, venue.clock, say)
    downloader = Downloader(
        venue.data,
        plan.store,
        calendar=plan.calendar,
        clock=venue.clock,
        on_page=progress.page,
    )
    progress.begin(_expected(plan, downloader, first, last))
    rebased, problems, added = [], {}, 0
    for symbol in plan.symbols:
        progress.symbol = symbol
        try:
            report = _fetch_one(plan, downloader, symbol, first, last)
        except (AuthError, RateLimited):
            raise
        except (KisRefused, DataError) as error:
            log.warning("history of %s not fetched: %s", symbol, error)
            problems[symbol] = str(error)
            continue
        added += report.added
        if report.rebased:
            rebased.append(symbol)
    say(
        _("history of {interval} up to {last}: {added:,} candles fetched").format(
            interval=interval, last=downloader.last_settled(last), added=added
        )
    )
    return ToppedUp(rebased=tuple(rebased), problems=problems, added=added)


def _fetch_one(
    plan: LivePlan, downloader: Downloader, symbol: str, first: date, last: date
) -> FetchReport:
    if plan.config.bars.length.is_daily:
        adjusted = plan.config.data.adjusted
        return downloader.fetch_days(symbol, first, last, adjusted=adjusted)
    return downloader.fetch_minutes(symbol, first, last)


def _expected(plan: LivePlan, downloader: Downloader, first: date, last: date) -> int:
    """Return about how many calls it takes."""
    if not plan.config.bars.length.is_daily:
        missing = (downloader.missing_sessions(s, first, last) for s in plan.symbols)
        return 4 * sum(map(len, missing))  # of 120 minutes each
    adjusted = plan.config.data.adjusted
    pages = downloader.expected_pages(plan.symbols, first, last, adjusted=adjusted)
    return pages + (len(plan.symbols) if adjusted else 0)


class _Progress:
    """A line now and then for a person who waits."""

    def __init__(self, plan: LivePlan, clock: Clock, say: Say) -> None:
        self._plan = plan
        self._clock = clock
        self._say = say
        self._done = self._total = 0
        self._told_s = clock.monotonic()
        self.symbol = ""

    def begin(self, calls: int) -> None:
        """Say what is about to happen."""
        self._total = calls
        if calls:
            self._say(
                _(
                    "bringing the history of {count} symbols up to date: about {calls} "
                    "calls"
                ).format(count=len(self._plan.symbols), calls=calls)
            )

    def page(self) -> None:
        """Note a call."""
        self._done += 1
        now_s = self._clock.monotonic()
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            self._say(
                _("history: {done} of about {total} calls ({symbol})").format(
                    done=self._done,
                    total=max(self._total, self._done),
                    symbol=self.symbol,
                )
            )


def after_top_up(plan: LivePlan, venue: Venue, topped: ToppedUp) -> list[str]:
    """Return what a user should know of the history a run begins with."""
    found = []
    if topped.problems:
        why = "; ".join(
            f"{symbol}: {problem}"
            for symbol, problem in list(topped.problems.items())[:_NAMES_SHOWN]
        )
        found.append(
            _("history of {count} symbols was not fetched: {why}").format(
                count=len(topped.problems), why=why
            )
        )
    if topped.unavailable:
        return [*found, *_without_past_minutes(plan)]
    lacking = _without_yesterday(plan)
    if lacking and plan.config.data.warmup:
        names = ", ".join(lacking[:_NAMES_SHOWN])
        more = len(lacking) - _NAMES_SHOWN
        if more > 0:
            names = _("{shown} and {more} more").format(shown=names, more=more)
        found.append(
            _(
                "no candle of {day} of {names}: not traded, or not final before 40 "
                "minutes after its close; their indicators begin with older prices"
            ).format(
                day=plan.calendar.previous_session(plan.session),
                names=names,
            )
        )
    return found


def _without_yesterday(plan: LivePlan) -> list[str]:
    """Return the symbols whose history ends before the session before the run's."""
    yesterday = plan.calendar.previous_session(plan.session)
    return [
        symbol
        for symbol, candles in plan.history.items()
        if len(candles) and candles.sessions[-1].item() < yesterday
    ]


def _without_past_minutes(plan: LivePlan) -> list[str]:
    """Say what it means that the practice server has no minutes of past days."""
    found = []
    missing = plan.config.data.warmup - plan.warmup_bars
    advice = _(
        "with real keys: kisbt data fetch --interval 1m --environment real, or name "
        "them in kis.data_profile"
    )
    if missing > 0:
        interval = plan.config.bars.length
        minutes = missing * (interval.minutes or 1)
        found.append(
            _(
                "KIS's mock server has no minutes of past days, and the store lacks "
                "{missing:,} of {warmup:,} warm-up bars: indicators that need all of "
                "them are ready after about {sessions:.1f} sessions of this run. Fetch "
                "them {advice}"
            ).format(
                missing=missing,
                warmup=plan.config.data.warmup,
                sessions=minutes / _SESSION_MINUTES,
                advice=advice,
            )
        )
    ends = [c.end[-1].astype("datetime64[D]").item() for c in _with_candles(plan)]
    yesterday = plan.calendar.previous_session(plan.session)
    if ends and max(ends) < yesterday:
        found.append(
            _(
                "the newest stored minutes are of {day}; {count} sessions since then "
                "are missing, and indicators begin with old prices. Fetch them {advice}"
            ).format(
                day=max(ends),
                count=plan.calendar.count(max(ends), yesterday) - 1,
                advice=advice,
            )
        )
    return found


def _with_candles(plan: LivePlan) -> list[CandleColumns]:
    return [candles for candles in plan.history.values() if len(candles)]


class Renewal:
    """Looks, before each later session of a daily run, whether the past has changed.

    The indicators of a run stand on the prices it began with. When a split or a
    rights issue re-bases them, what they say of the symbol is wrong from then on.
    """

    def __init__(
        self,
        plan: LivePlan,
        venue: Venue,
        *,
        found: Callable[[str, bool], None],
    ) -> None:
        """Look on behalf of a run.

        Args:
            plan: of the run.
            venue: whose market data.
            found: told of a symbol whose past has changed, and in each later session
                again, then with True.
        """
        self._plan = plan
        self._downloader = Downloader(
            venue.data, plan.store, calendar=plan.calendar, clock=venue.clock
        )
        self._tell = found
        self._left: list[str] = []
        self._known: set[str] = set()
        self._first = plan.session
        self._last = plan.session

    def begin(self, day: date, held: Iterable[str]) -> None:
        """Begin a session: every symbol is to be looked at, held ones first.

        Args:
            day: of the session; nothing is done on the run's first one.
            held: symbols of which the run owns shares.
        """
        for symbol in sorted(self._known):
            self._tell(symbol, True)
        if day == self._first:
            return
        self._last = self._plan.calendar.previous_session(day)
        owned = set(held)
        order = sorted(self._plan.symbols, key=lambda symbol: symbol not in owned)
        self._left = [symbol for symbol in order if symbol not in self._known]

    def step(self) -> bool:
        """Look at one symbol; return whether there was one.

        Raises:
            KisError: the broker could not be asked; the symbol stays to be looked at.
        """
        if not self._left:
            return False
        symbol = self._left[0]
        try:
            report = self._downloader.fetch_days(
                symbol, self._last, self._last, adjusted=True
            )
        except (KisRefused, DataError) as error:
            log.warning("history of %s not looked at: %s", symbol, error)
            report = FetchReport(symbol=symbol)
        self._left.pop(0)
        if report.rebased:
            self._known.add(symbol)
            self._tell(symbol, False)
        return True


def renews(plan: LivePlan, venue: Venue) -> bool:
    """Return whether a run must look for a changed past before each session."""
    return plan.config.bars.length == DAILY and plan.adjusted and not venue.is_emulator


def note_rebased(desk: Desk, symbol: str, again: bool = False) -> None:
    """Send nothing more in a symbol whose past prices have changed.

    Own shares freeze it until a person has looked; in any case nothing is bought for
    the rest of the day.

    Args:
        desk: of the orders.
        symbol: whose prices.
        again: a person may have looked since it was told first.
    """
    pause(
        desk,
        symbol,
        _(
            "its past prices were re-based; the run's indicators stand on the old ones "
            "until it is started anew"
        ),
        None,
    )
    if again or not desk.journal.holding(symbol).quantity:
        return
    why = _(
        "its past prices were re-based, by a split or a rights issue. See what that "
        "means for the shares held: kisbt reconcile --split {symbol} RATIO; without a "
        "change of shares: kisbt reconcile --thaw {symbol}."
    )
    freeze(desk, symbol, why.format(symbol=symbol))

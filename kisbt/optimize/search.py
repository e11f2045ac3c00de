"""The search itself: propose, run, write down, until the sampler has no more."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from kisbt.clock import Clock
from kisbt.errors import InputError
from kisbt.optimize.objective import Objective
from kisbt.optimize.sampler import Sampler
from kisbt.optimize.space import Params, key_of
from kisbt.optimize.trials import Trial, TrialTable
from kisbt.text import _

# Runs trials: numbers and parameters in, results out in the same order.
Evaluate = Callable[[Sequence[tuple[int, Params]]], Generator[Trial, None, None]]

# Called with trials done, trials in all, the best objective so far.
Notice = Callable[[int, int, float | None], None]

# Results wait this long at most before they are written.
_WRITE_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finished search.

    Attributes:
        trials: in order of their numbers.
        values: objective of each; None where it has none or breaks a constraint.
        best: position of the best; None when no trial has a value.
        resumed: how many trials were there already.
    """

    trials: tuple[Trial, ...]
    values: tuple[float | None, ...]
    best: int | None
    resumed: int


def run_search(
    sampler: Sampler,
    objective: Objective,
    evaluate: Evaluate,
    table: TrialTable,
    *,
    clock: Clock,
    notice: Notice | None = None,
) -> Found:
    """Run every trial the sampler proposes that the table does not have.

    An interruption loses at most the trials that were running: what was finished
    is in the table, and the same call goes on from there.

    Raises:
        InputError: the table holds trials of another search.
    """
    known = table.read()
    resumed = len(known)
    done: list[Trial] = []
    best: float | None = None
    while proposed := sampler.propose(done):
        numbered = list(enumerate(proposed, start=len(done)))
        for number, params in numbered:
            if number in known and key_of(known[number].params) != key_of(params):
                raise InputError(
                    _(
                        "trial {number} in the database has other parameters: it "
                        "belongs to another search or another version; give a new "
                        "--out or another storage"
                    ).format(number=number)
                )
        missing = [item for item in numbered if item[0] not in known]
        writer = _Writer(table, clock)
        fresh = evaluate(missing)
        try:
            for number, _params in numbered:
                trial = known.get(number)
                if trial is None:
                    trial = next(fresh)
                    writer.add(trial)
                done.append(trial)
                best = _better(best, _value(objective, trial))
                if notice is not None:
                    notice(len(done), sampler.total, best)
        finally:
            fresh.close()
            writer.flush()
    values = tuple(_value(objective, trial) for trial in done)
    ranked = [(value, -k) for k, value in enumerate(values) if value is not None]
    return Found(
        trials=tuple(done),
        values=values,
        best=-max(ranked)[1] if ranked else None,
        resumed=resumed,
    )


class _Writer:
    """Collects trials and writes them a few times a second."""

    def __init__(self, table: TrialTable, clock: Clock) -> None:
        self._table, self._clock = table, clock
        self._waiting: list[Trial] = []
        self._written_s = clock.monotonic()

    def add(self, trial: Trial) -> None:
        self._waiting.append(trial)
        if self._clock.monotonic() - self._written_s >= _WRITE_EVERY_S:
            self.flush()

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._table.add(waiting)
        self._written_s = self._clock.monotonic()


def _value(objective: Objective, trial: Trial) -> float | None:
    if not objective.feasible(trial.metrics):
        return None
    return objective.value(trial.metrics)


def _better(best: float | None, value: float | None) -> float | None:
    if best is None or (value is not None and value > best):
        return value
    return best

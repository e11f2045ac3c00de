from collections.abc import Generator, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from kisbt.clock import KST, ManualClock
from kisbt.errors import InputError, StorageError
from kisbt.optimize.objective import make_objective
from kisbt.optimize.sampler import Listed
from kisbt.optimize.search import Found, run_search
from kisbt.optimize.space import Params
from kisbt.optimize.trials import Trial, TrialTable

OBJECTIVE = make_objective("sharpe", ("trades > 1",), {"sharpe", "trades"})
PARAMS = [{"a": k} for k in (1, 5, 3, 5, 2)]
CLOCK = ManualClock(datetime(2026, 1, 2, tzinfo=KST))


class Runner:
    """Runs trials and remembers which; stops with an error before `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.ran: list[int] = []
        self._stop = stop

    def __call__(
        self, missing: Sequence[tuple[int, Params]]
    ) -> Generator[Trial, None, None]:
        for number, params in missing:
            if number == self._stop:
                raise KeyboardInterrupt
            self.ran.append(number)
            metrics = {"sharpe": params["a"] / 10, "trades": params["a"]}
            yield Trial(
                number=number, params=params, metrics=metrics, returns=b"\0\0\x80?"
            )


def url(folder: Path) -> str:
    return f"sqlite:///{(folder / 'study.db').as_posix()}"


def search(table: TrialTable, runner: Runner, params: list[Params] = PARAMS) -> Found:
    return run_search(Listed(params), OBJECTIVE, runner, table, clock=CLOCK)


def test_best_is_the_first_of_the_highest_that_meets_the_constraints() -> None:
    told = []
    with TrialTable("sqlite://", "s") as table:
        found = run_search(
            Listed(PARAMS),
            OBJECTIVE,
            Runner(),
            table,
            clock=CLOCK,
            notice=lambda *args: told.append(args),
        )
    assert found.values == (None, 0.5, 0.3, 0.5, 0.2)
    assert found.best == 1
    assert told[0] == (1, 5, None)
    assert told[-1] == (5, 5, 0.5)


def test_interrupted_search_keeps_what_was_finished_and_goes_on(tmp_path: Path) -> None:
    with TrialTable(url(tmp_path), "s") as table:
        with pytest.raises(KeyboardInterrupt):
            search(table, Runner(stop=3))
        assert sorted(table.read()) == [0, 1, 2]
    again = Runner()
    with TrialTable(url(tmp_path), "s") as table:
        found = search(table, again)
    assert again.ran == [3, 4]
    assert found.resumed == 3
    with TrialTable("sqlite://", "s") as table:
        assert search(table, Runner()).trials == found.trials


def test_trials_of_another_search_are_refused(tmp_path: Path) -> None:
    with TrialTable(url(tmp_path), "s") as table:
        search(table, Runner())
        with pytest.raises(InputError, match="trial 1 in the database"):
            search(table, Runner(), [{"a": 1}, {"a": 4}])


def test_studies_of_one_database_do_not_meet(tmp_path: Path) -> None:
    with (
        TrialTable(url(tmp_path), "one") as one,
        TrialTable(url(tmp_path), "two") as two,
    ):
        search(one, Runner())
        assert two.read() == {}


def test_rows_come_back_as_they_were_and_never_twice(tmp_path: Path) -> None:
    trials = [
        Trial(
            number=0, params={"a": 0.1, "가": ["x"]}, metrics={"s": 1e-17, "n": None}
        ),
        Trial(number=1, params={}, metrics=None, error="그만"),
    ]
    with TrialTable(url(tmp_path), "s") as table:
        table.add(trials)
        assert list(table.read().values()) == trials
        with pytest.raises(StorageError, match="database of the trials refused"):
            table.add(trials[:1])


@pytest.mark.parametrize("address", ["nonsense", "oracle+none://x"])
def test_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"optimize\.storage"):
        TrialTable(address, "s")


def test_database_that_cannot_be_opened_is_named_without_its_password(
    tmp_path: Path,
) -> None:
    with pytest.raises(StorageError) as refused:
        TrialTable(f"sqlite:///{(tmp_path / 'no' / 'x.db').as_posix()}", "s")
    assert "database" in str(refused.value)

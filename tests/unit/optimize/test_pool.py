import os
import signal
from pathlib import Path

import pytest

from kisbt.errors import InputError, KisbtError
from kisbt.optimize.needs import require
from kisbt.optimize.pool import Local, Serial, check_versions, open_pool, versions


def square(value: int) -> tuple[int, int]:
    return value * value, os.getpid()


def die_once(value: int, mark: str) -> int:
    """Kill the worker at the first call with 3."""
    if value == 3:
        try:
            Path(mark).touch(exist_ok=False)
        except FileExistsError:
            return value
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def die_always(value: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return value


def refuse(value: int) -> int:
    raise InputError(f"no {value}")


def test_serial_and_local_yield_in_the_order_of_the_calls() -> None:
    calls = [(k,) for k in range(12)]
    own = [result[0] for result in Serial().map(square, calls)]
    found = list(Local(2).map(square, calls))
    assert own == [result[0] for result in found] == [k * k for k in range(12)]
    assert os.getpid() not in {pid for _square, pid in found}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_calls_lost_with_a_worker_are_made_again(tmp_path: Path) -> None:
    mark = str(tmp_path / "died")
    assert list(Local(2).map(die_once, [(k, mark) for k in range(8)])) == list(range(8))
    assert Path(mark).exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_workers_that_die_again_and_again_end_the_search() -> None:
    with pytest.raises(KisbtError, match="died 3 times in a row"):
        list(Local(2).map(die_always, [(1,), (2,)]))


def test_an_error_of_a_worker_comes_through() -> None:
    with pytest.raises(InputError, match="no 1"):
        list(Local(2).map(refuse, [(1,)]))


def test_one_worker_is_this_process() -> None:
    with open_pool(1) as pool:
        assert isinstance(pool, Serial)
    with open_pool(3) as pool:
        assert pool.workers == 3


def test_other_versions_are_refused_by_name() -> None:
    here = versions()
    check_versions(here, dict(here), "w")
    with pytest.raises(
        InputError, match=r"worker tcp://x has numpy 1\.0, this machine"
    ):
        check_versions(here, {**here, "numpy": "1.0"}, "tcp://x")


def test_missing_package_names_the_command_that_installs_it() -> None:
    with pytest.raises(InputError, match=r'pip install "kisbt\[optimize\]"'):
        require("a_package_nobody_has")


def test_scheduler_that_does_not_answer_is_named() -> None:
    pytest.importorskip("distributed")
    with (
        pytest.raises(InputError, match="no Dask scheduler answers at nonsense"),
        open_pool(1, cluster="nonsense://x"),
    ):
        pass

"""What is asked beside the trading loop: `kisbt.app.enquiries`."""

import threading

import pytest

from kisbt.app.enquiries import Enquiries
from kisbt.errors import KisError, WireError


def _fail(error: Exception) -> None:
    raise error


def test_step_by_step_it_is_asked_at_once_and_in_order() -> None:
    found: list[object] = []
    asked = Enquiries(at_once=True, wake=lambda: None)
    asked.ask("a", threading.current_thread, found.append, found.append)
    assert found == [threading.current_thread()]
    assert not asked.busy


def test_the_loop_goes_on_while_the_answer_is_under_way() -> None:
    let_go, woken = threading.Event(), threading.Event()
    found: list[object] = []
    asked = Enquiries(at_once=False, wake=woken.set)

    def slow() -> str:
        assert let_go.wait(30)
        return threading.current_thread().name

    asked.ask("chart", slow, found.append, found.append)
    asked.ask("chart", lambda: "again", found.append, found.append)
    asked.take()
    assert asked.is_asking("chart")
    assert found == []
    let_go.set()
    assert woken.wait(30)
    assert found == []  # nothing is taken but by the loop itself
    asked.take()
    assert found == ["kisbt-enquiries"]
    assert not asked.busy
    assert asked.stop()


@pytest.mark.parametrize("at_once", [True, False])
def test_what_fails_is_told_and_a_mistake_is_raised(at_once: bool) -> None:
    woken = threading.Semaphore(0)
    told: list[KisError] = []
    asked = Enquiries(at_once=at_once, wake=woken.release)
    trouble = WireError("no chart")
    asked.ask("chart", lambda: _fail(trouble), _fail, told.append)
    if not at_once:
        assert woken.acquire(timeout=30)
        asked.take()
    assert told == [trouble]
    with pytest.raises(ZeroDivisionError):
        _ask_and_take(asked, woken)
    assert asked.stop()


def _ask_and_take(asked: Enquiries, woken: threading.Semaphore) -> None:
    asked.ask("chart", lambda: 1 // 0, print, print)
    assert woken.acquire(timeout=30)
    asked.take()

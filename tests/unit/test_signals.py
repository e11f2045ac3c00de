"""The flag between two threads, beside `threading.Event`."""

import threading

import pytest

from kisbt.signals import Signal


@pytest.mark.parametrize("kind", [Signal, threading.Event])
def test_a_flag_stays_up_until_it_is_lowered(kind: type) -> None:
    flag = kind()
    assert not flag.is_set()
    assert not flag.wait(0.0)
    flag.set()
    flag.set()
    assert flag.wait(0.0)
    assert flag.wait(60.0)
    assert flag.wait(None)
    assert flag.is_set()
    flag.clear()
    flag.clear()
    assert not flag.is_set()
    assert not flag.wait(0.001)


@pytest.mark.parametrize("kind", [Signal, threading.Event])
def test_no_raising_is_missed(kind: type) -> None:
    """Whoever lowers the flag before it looks for work never waits beside work."""
    flag, answer = kind(), kind()
    work: list[int] = []
    done: list[int] = []

    def worker() -> None:
        while len(done) < 5_000:
            assert flag.wait(30.0)
            flag.clear()
            while work:
                done.append(work.pop())
            answer.set()

    thread = threading.Thread(target=worker)
    thread.start()
    for number in range(5_000):
        work.append(number)
        flag.set()
        if number % 3:
            assert answer.wait(30.0)
            answer.clear()
    flag.set()
    thread.join(60)
    assert not thread.is_alive()
    assert len(done) == 5_000

from hypothesis import given, strategies as st

from kisbt.orders.halt import Beat, Pulse
from kisbt.orders.watch import Finding, Vigil

PID = 4711


def beat(count: int, pulse: Pulse = Pulse.OPEN, pid: int = PID) -> Beat:
    return Beat(count=count, pid=pid, pulse=pulse)


def watch(*looks: tuple[float, Beat | None]) -> Finding:
    vigil = Vigil(PID, stale_s=30.0)
    found = Finding.WELL
    for at_s, seen in looks:
        found = vigil.look(seen, at_s)
    return found


def steadily(
    seen: Beat | None, seconds: int, start: int = 0
) -> list[tuple[float, Beat | None]]:
    return [(float(at), seen) for at in range(start, start + seconds + 1)]


def test_silence_in_a_session_is_found_after_its_limit() -> None:
    assert watch(*steadily(beat(7), 29)) is Finding.WELL
    assert watch(*steadily(beat(7), 30)) is Finding.STALE


def test_each_beat_begins_the_count_again() -> None:
    assert watch(*steadily(beat(7), 29), *steadily(beat(8), 29, 30)) is Finding.WELL


def test_silence_outside_a_session_is_no_alarm() -> None:
    for pulse in (Pulse.STARTING, Pulse.CLOSED):
        assert watch(*steadily(beat(7, pulse), 600)) is Finding.WELL


def test_run_that_has_not_begun_is_waited_for() -> None:
    assert watch(*steadily(None, 600)) is Finding.WELL


def test_run_that_ended_or_was_replaced_needs_no_watch() -> None:
    assert watch((0.0, beat(7, Pulse.ENDED))) is Finding.ENDED
    assert watch((0.0, beat(7)), (1.0, beat(1, pid=PID + 1))) is Finding.ENDED


def test_heartbeat_file_that_vanishes_is_not_a_sign_of_life_for_ever() -> None:
    vigil = Vigil(PID, stale_s=30.0)
    vigil.look(beat(7), 0.0)
    vigil.look(None, 1.0)
    assert vigil.look(beat(7), 2.0) is Finding.WELL
    for at in range(3, 32):
        vigil.look(beat(7), float(at))
    assert vigil.look(beat(7), 32.0) is Finding.STALE


def test_sleep_of_the_machine_is_no_silence_of_the_run() -> None:
    asleep = [*steadily(beat(7), 3), (7203.0, beat(7))]
    assert watch(*asleep) is Finding.WELL
    assert watch(*asleep, *steadily(beat(7), 30, 7203)) is Finding.STALE


@given(
    st.lists(st.tuples(st.floats(0.0, 4.9), st.booleans()), min_size=1, max_size=200)
)
def test_alarm_is_raised_exactly_when_no_beat_came_for_the_limit(
    steps: list[tuple[float, bool]],
) -> None:
    vigil = Vigil(PID, stale_s=30.0)
    now_s, count, heard_s = 0.0, 1, 0.0
    vigil.look(beat(count), now_s)
    for gap_s, beats in steps:
        now_s += gap_s
        if beats:
            count, heard_s = count + 1, now_s
        stale = now_s - heard_s >= 30.0
        found = vigil.look(beat(count), now_s)
        assert (found is Finding.STALE) == stale
        assert vigil.silence_s == now_s - heard_s

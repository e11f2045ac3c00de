"""How much a trade costs beyond taking its frame apart."""

import timeit

import pytest

from kisbt.kis.wire.stream import StreamDecoder
from tests.helpers.wire import frames

pytestmark = pytest.mark.bench

_CALLS = 5_000
_ROUNDS = 25


@pytest.mark.parametrize("columns", [46, 47])
def test_trade_is_read_in_two_and_a_half_times_a_bare_split(columns: int) -> None:
    frame = frames()["data_H0STCNT0_one"] + ("^2" if columns == 47 else "")
    decoder = StreamDecoder()
    # Turn about, and the best of each: another process must not decide.
    pairs = [
        (
            timeit.timeit(lambda: frame.split("^"), number=_CALLS),
            timeit.timeit(lambda: decoder.decode(frame), number=_CALLS),
        )
        for _round in range(_ROUNDS)
    ]

    split_s, decode_s = (min(times) for times in zip(*pairs, strict=True))

    assert split_s / decode_s >= 0.4

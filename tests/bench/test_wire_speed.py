"""How much a trade costs beyond taking its frame apart."""

import timeit

import pytest

from kisbt.kis.wire.stream import StreamDecoder
from tests.helpers.wire import frames

pytestmark = pytest.mark.bench

_CALLS = 500
_ROUNDS = 250


@pytest.mark.parametrize("records", [1, 2])
@pytest.mark.parametrize("columns", [46, 47])
def test_trade_is_read_in_two_and_a_half_times_a_bare_split(
    columns: int, records: int
) -> None:
    one = frames()["data_H0STCNT0_one"].split("|")[3] + ("^2" if columns == 47 else "")
    frame = f"0|H0STCNT0|{records:03}|" + "^".join([one] * records)
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

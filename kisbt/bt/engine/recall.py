"""Results of slow array functions, kept from one run of a search to the next.

The runs of a search compute most of their indicators again over the same candles. A
result is found by the very bits that went in, so it is the one that would come out.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MOST_BYTES = 64 * 2**20
_kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
_bytes_kept = 0
_is_on = False


@contextmanager
def recalled() -> Iterator[None]:
    """Keep results, and use those kept, while the context lasts."""
    global _is_on  # noqa: PLW0603  (of the process, as its runs are)
    before, _is_on = _is_on, True
    try:
        yield
    finally:
        _is_on = before


def recall(work: Callable[..., Any], values: Floats, *numbers: float) -> Any:
    """Return ``work(values, *numbers)``, not to be changed.

    Args:
        work: depends on nothing else.
        values: float64.
        numbers: beside them.
    """
    if not _is_on:
        return work(values, *numbers)
    # As bits: 0.0 equals -0.0.
    key = (work, values.tobytes(), array("d", numbers).tobytes())
    try:
        _kept.move_to_end(key)
        return _kept[key]
    except KeyError:
        result = work(values, *numbers)
        _keep(key, result)
        return result


def _keep(key: tuple[Any, ...], result: Any) -> None:
    global _bytes_kept  # noqa: PLW0603
    _kept[key] = result
    _bytes_kept += _size(key, result)
    while _bytes_kept > _MOST_BYTES:
        _bytes_kept -= _size(*_kept.popitem(last=False))


def _size(key: tuple[Any, ...], result: Any) -> int:
    return len(key[1]) + getattr(result, "nbytes", 0)

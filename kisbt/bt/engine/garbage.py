"""Fewer searches for garbage while a run makes much that it keeps."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Indicators, orders, trades and rows are kept to the end: looking for garbage among
# them finds none.
_THRESHOLDS = (200_000, 20, 100)
# After this many objects garbage of earlier runs is looked for all the same.
_MOST_UNSEEN = 500_000
_unseen = 0
_full_collections = 0


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect garbage seldom; also a decorator.

    What a run leaves behind counts as old afterwards. Else Python would look through
    all of it as soon as the run is over.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        if before != _THRESHOLDS and not gc.get_freeze_count():
            _grow_old()
        gc.set_threshold(*before)


def _grow_old() -> None:
    # Of the process, as the garbage is.
    global _unseen, _full_collections  # noqa: PLW0603
    before, _full_collections = _full_collections, gc.get_stats()[2]["collections"]
    _unseen = gc.get_count()[0] + (_unseen if _full_collections == before else 0)
    if _unseen > _MOST_UNSEEN:
        gc.collect()
    else:
        # Moves every object into the oldest generation without looking at it.
        gc.freeze()
        gc.unfreeze()

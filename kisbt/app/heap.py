"""How the C library hands out memory in a process that runs for days."""

import ctypes
import sys
from contextlib import suppress
from typing import Final

# Of glibc's <malloc.h>: the greatest number of heaps ("arenas").
_M_ARENA_MAX: Final = -8


def share_one_heap() -> bool:
    """Have all threads take their memory from one heap; return whether they do.

    glibc gives threads a heap each, eight for each processor at most, and what is
    free in one is of no use to another: the memory of a run with a dozen threads
    grows for days before it stands. Python threads hardly ever allocate at the same
    moment, so that nothing is lost. Threads that have a heap already keep it.
    Elsewhere, and where ``MALLOC_ARENA_MAX`` cannot be set, nothing happens.

    Source: https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):  # another C library than glibc
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    return False

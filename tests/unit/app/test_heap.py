"""Memory of the C library, counted by itself in a process of its own."""

import platform
import subprocess
import sys

import pytest

from tests.helpers.runs import ROOT

COUNT = """
import ctypes, os, sys, threading
from kisbt.app.heap import share_one_heap
if sys.argv[1] == "one":
    assert share_one_heap()
meeting = threading.Barrier(4)
def allocate():
    meeting.wait()
    kept.append([bytes(2000) for _ in range(1000)])
    meeting.wait()
kept = []
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fdopen(os.dup(1), b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_threads_share_one_heap() -> None:
    assert _heaps("many") > 1
    assert _heaps("one") == 1


def _heaps(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, how],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return done.stdout.count("<heap nr=")

"""Prefetching: order, bounds and errors."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from phi4audio_cli.background import prefetch


def test_order_is_kept():
    assert list(prefetch(range(100), buffer_size=3)) == list(range(100))


def test_no_more_than_asked_for_is_taken_ahead():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for index in range(50):
            taken.append(index)
            yield index

    ahead = prefetch(items(), buffer_size=4)
    assert next(ahead) == 0
    time.sleep(0.3)
    assert len(taken) <= 1 + 4 + 1  # given out, queued, and one in the thread's hand
    ahead.close()


def test_errors_come_after_the_items_before_them():
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    ahead = prefetch(items(), buffer_size=2)
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="broken"):
        next(ahead)


def test_closing_ends_the_thread():
    ahead = prefetch(iter(int, 1), buffer_size=2)
    next(ahead)
    ahead.close()
    deadline = time.monotonic() + 5
    while any(thread.name == "prefetch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_interpreter_waits_for_a_thread_inside_of_torch():
    """A thread that the interpreter ends inside of torch aborts the process."""
    program = """
import torch
from phi4audio_cli.background import prefetch

def items():
    while True:
        torch.ones(600, 600) @ torch.ones(600, 600)
        yield 0

ahead = prefetch(items(), buffer_size=1_000_000)
next(ahead)
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")

"""Freed memory stays with the process where the C library can be told so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from phi4audio_cli.model import heap
from phi4audio_cli.model.heap import keep_freed_memory

FAULTS = """
import resource
import torch
from phi4audio_cli.model.heap import keep_freed_memory
assert keep_freed_memory()
torch.set_num_threads(1)
def touch():
    for _ in range(20):
        blocks = [torch.zeros(3_000_000) for _ in range(6)]
        del blocks
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults() -> int:
    command = [sys.executable, "-c", FAULTS]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's way")
def test_pages_are_not_faulted_in_again():
    a_round = 6 * 12_000_000 // 4096
    assert faults() < a_round  # left alone, it is 20 rounds most of the time


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    assert not keep_freed_memory()

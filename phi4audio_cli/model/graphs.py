"""Decode steps recorded once for a shape and replayed: a GPU then never waits for Python.

A step of 32 layers is some thousand small kernels; starting each from Python takes longer than the
GPU needs to run them. A CUDA graph starts all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

Compute: TypeAlias = Callable[[], torch.Tensor]
Capture: TypeAlias = Callable[[Compute], tuple[Callable[[], None], torch.Tensor]]
"""Records a computation; returns what replays it, and the tensor that then holds the result."""

ROW_STEP = 8
"""Above so many rows, steps are recorded for whole multiples of it."""

WARM_UPS = 2
"""Runs before a recording: libraries set themselves up in the first ones."""


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded:
    tokens: torch.Tensor
    positions: torch.Tensor
    replay: Callable[[], None]
    logits: torch.Tensor


class StepGraphs:
    """Replays steps, recording each shape when it first comes.

    Args:
        compute: From tokens (rows,), positions (rows,) and the span to logits (rows, vocabulary),
            without a word to the host in between.
        rows: Most rows. Those beyond the real ones compute token 0 at position 0, in slots that
            are free.
        device: Where it runs.
        capture: How it is recorded.
    """

    def __init__(
        self,
        compute: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor],
        rows: int,
        device: torch.device,
        capture: Capture | None = None,
    ) -> None:
        self.compute = compute
        self.rows = rows
        self.device = device
        self.capture = capture or CudaCapture()
        self._recorded: dict[tuple[int, int], _Recorded] = {}

    def run(self, tokens: Sequence[int], positions: Sequence[int], span: int) -> torch.Tensor:
        """Compute a step; the logits, (rows, vocabulary), hold until the next one."""
        count = len(tokens)
        rows = min(self.rows, _rounded(count))
        recorded = self._recorded.get((rows, span))
        if recorded is None:
            buffers = torch.zeros(2, rows, dtype=torch.long, device=self.device)
            self._fill(buffers[0], tokens)
            self._fill(buffers[1], positions)
            replay, logits = self.capture(lambda: self.compute(buffers[0], buffers[1], span))
            recorded = _Recorded(buffers[0], buffers[1], replay, logits)
            self._recorded[rows, span] = recorded
        else:
            self._fill(recorded.tokens, tokens)
            self._fill(recorded.positions, positions)
        recorded.replay()
        return recorded.logits[:count]

    def _fill(self, buffer: torch.Tensor, values: Sequence[int]) -> None:
        padded = [*values, *[0] * (len(buffer) - len(values))]
        buffer.copy_(torch.tensor(padded, dtype=torch.long))


def _rounded(count: int) -> int:
    if count > ROW_STEP:
        return -(-count // ROW_STEP) * ROW_STEP
    return 1 << (count - 1).bit_length()


class CudaCapture:
    """Records CUDA graphs that share one pool of memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Compute) -> tuple[Callable[[], None], torch.Tensor]:
        """Record a computation that works on tensors which stay where they are."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                compute()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads bring features to the device meanwhile; that is none of the recording's.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = compute()
        return graph.replay, result

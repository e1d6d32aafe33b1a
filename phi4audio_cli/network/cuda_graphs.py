"""Decode steps captured once for a shape and replayed: a GPU then never waits for Python.

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
"""Captures a computation; returns a replay function, and the tensor that then holds the result."""

SPAN_STEP = 128
"""Captured steps attend to whole multiples of so many positions, for each is captured."""

ROW_STEP = 8
"""Above so many rows, steps are captured for whole multiples of it."""

WARM_UPS = 2
"""Runs before a capture: libraries set themselves up in the first ones."""


@dataclass(frozen=True, slots=True, eq=False)
class CapturedGraph:
    """A step of one shape with its input and output buffers."""

    tokens: torch.Tensor
    positions: torch.Tensor
    replay: Callable[[], None]
    logits: torch.Tensor


class CudaGraphRunner:
    """Replays steps, capturing each shape when it first comes.

    Args:
        compute: From tokens (rows,), positions (rows,) and the span to logits (rows, vocabulary),
            without waiting for the device in between.
        rows: Most rows. Those beyond the real ones compute token 0 at position 0, in slots that
            are free.
        device: Where it runs.
        capture: How it is captured.
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
        self._captured: dict[tuple[int, int], CapturedGraph] = {}

    def run(self, tokens: Sequence[int], positions: Sequence[int], span: int) -> torch.Tensor:
        """Compute a step; the logits, (rows, vocabulary), hold until the next one."""
        count = len(tokens)
        rows = min(self.rows, _rounded(count))
        graph = self._captured.get((rows, span))
        if graph is None:
            buffers = torch.zeros(2, rows, dtype=torch.long, device=self.device)
            self._fill(buffers[0], tokens)
            self._fill(buffers[1], positions)
            replay, logits = self.capture(lambda: self.compute(buffers[0], buffers[1], span))
            graph = CapturedGraph(buffers[0], buffers[1], replay, logits)
            self._captured[rows, span] = graph
        else:
            self._fill(graph.tokens, tokens)
            self._fill(graph.positions, positions)
        graph.replay()
        return graph.logits[:count]

    def _fill(self, buffer: torch.Tensor, values: Sequence[int]) -> None:
        padded = [*values, *[0] * (len(buffer) - len(values))]
        buffer.copy_(torch.tensor(padded, dtype=torch.long))


def _rounded(count: int) -> int:
    if count > ROW_STEP:
        return -(-count // ROW_STEP) * ROW_STEP
    return 1 << (count - 1).bit_length()


class CudaCapture:
    """Captures CUDA graphs that share one pool of memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Compute) -> tuple[Callable[[], None], torch.Tensor]:
        """Capture a computation whose tensors stay at their addresses."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                compute()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads bring features to the device meanwhile; the capture leaves them alone.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = compute()
        return graph.replay, result

"""Memory and speed of one variant, in this process."""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.doctor.audio_checks import bundled_sample
from phi4audio_cli.model.quantization import weight_bytes
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Generation, Request

Clock: TypeAlias = Callable[[], float]

CHUNK_SECONDS = 20.0
SHORT_SECONDS = 2.0
"""Of the clips whose answers are timed token by token: little comes before the first."""
REPEATS = 3
"""Each of those is timed so often; the fastest counts."""
TOKENS_PER_SECOND = 3
"""Of what is said; the answers that RTFx is measured with have so many."""


def measure(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Load a checkpoint and answer; what is asked is the same for every variant."""
    backend = open_torch_backend(
        Path(options.model),
        device=options.device,
        dtype=options.dtype,
        batch_size=options.batch,
        quantize=kind,
    )
    clock = time.perf_counter
    if options.processor_time:
        torch.set_num_threads(1)
        clock = time.process_time
    requests = _requests(60 * options.minutes, CHUNK_SECONDS)
    # The first begins with a pause.
    short = _requests((options.batch + 1) * SHORT_SECONDS, SHORT_SECONDS)[1 : options.batch + 1]
    return {
        "weights": weight_bytes(backend.network),
        "alone": _tokens_per_second(backend, short[:1], options.tokens, clock),
        "together": _tokens_per_second(backend, short, options.tokens, clock),
        "rtfx": _rtfx(backend, requests, clock),
        "peak": _peak_memory(options.device),
    }


def _requests(seconds: float, longest: float) -> list[Request]:
    """Ask for transcripts of bundled speech, 3 tokens for every second of it."""
    speech, rate = bundled_sample("interview")
    samples = np.resize(speech, int(seconds * rate))
    task = Transcribe("English", align="none")
    return [
        replace(request, max_new_tokens=max(1, round(chunk.seconds * TOKENS_PER_SECOND)))
        for chunk in chunk_at_silence([samples], rate, longest)
        for request in task.requests(0, chunk)
    ]


def _tokens_per_second(
    backend: TorchBackend, asked: Sequence[Request], most: int, clock: Clock
) -> float:
    """Write answers of a fixed length, less the time for answers of one token: what comes before.

    A checkpoint that ends its answers earlier is measured by what it wrote.
    """
    spent, written = {1: math.inf, most: math.inf}, {}
    for tokens in (1, most) * REPEATS:
        began = clock()
        written[tokens] = _count_answered_tokens(
            backend, [replace(one, max_new_tokens=tokens) for one in asked]
        )
        spent[tokens] = min(spent[tokens], clock() - began)
    return (written[most] - written[1]) / max(spent[most] - spent[1], 1e-9)


def _rtfx(backend: TorchBackend, requests: Sequence[Request], clock: Clock) -> float:
    began = clock()
    _count_answered_tokens(backend, requests)
    seconds = clock() - began
    return sum(one.chunk.seconds for one in requests if one.chunk) / seconds


def _count_answered_tokens(backend: TorchBackend, requests: Sequence[Request]) -> int:
    """Answer all; return how many tokens were written."""
    count = 0
    for answer in backend.generate([*requests, None]):
        if not isinstance(answer, Generation):
            raise answer.error
        count += len(answer.tokens)
    return count


def _peak_memory(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

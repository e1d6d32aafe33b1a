"""Memory and speed of one variant, in this process."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from benchmarks.backend_answers import answer_all
from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.doctor.audio_checks import bundled_sample
from phi4audio_cli.model.quantization import weight_bytes
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.process_memory import peak_memory
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Request

Clock: TypeAlias = Callable[[], float]

CHUNK_SECONDS = 20.0
SHORT_SECONDS = 2.0
"""Length of the clips of the token timing: their prefill is short."""
REPEATS = 3
"""Number of timings of each; the fastest counts."""
TOKENS_PER_SECOND = 3
"""Length of the answers of the RTFx measurement, per second of speech."""


def measure(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Load a checkpoint and answer the same requests as every other variant."""
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
        "peak": _peak_bytes(options.device),
    }


def _requests(seconds: float, longest: float) -> list[Request]:
    """Return requests about bundled speech, with 3 tokens for each second."""
    speech, rate = bundled_sample("interview")
    samples = np.resize(speech, int(seconds * rate))
    task = Transcribe("English", align="none")
    return [
        replace(request, max_new_tokens=max(1, round(chunk.seconds * TOKENS_PER_SECOND)))
        for chunk in chunk_at_silence([samples], rate, longest)
        for request in task.requests(0, chunk)
    ]


def _tokens_per_second(
    backend: TorchBackend, requests: Sequence[Request], max_tokens: int, clock: Clock
) -> float:
    """Time answers of a fixed length, without the time of answers of one token (encoder, prefill).

    A checkpoint that ends its answers earlier is measured by the tokens of its answers.
    """
    spent, written = {1: math.inf, max_tokens: math.inf}, {}
    for tokens in (1, max_tokens) * REPEATS:
        began = clock()
        written[tokens] = _count_answered_tokens(
            backend, [replace(one, max_new_tokens=tokens) for one in requests]
        )
        spent[tokens] = min(spent[tokens], clock() - began)
    return (written[max_tokens] - written[1]) / max(spent[max_tokens] - spent[1], 1e-9)


def _rtfx(backend: TorchBackend, requests: Sequence[Request], clock: Clock) -> float:
    began = clock()
    _count_answered_tokens(backend, requests)
    seconds = clock() - began
    return sum(one.chunk.seconds for one in requests if one.chunk) / seconds


def _count_answered_tokens(backend: TorchBackend, requests: Sequence[Request]) -> int:
    """Answer all requests; return the number of tokens."""
    return sum(len(answer.tokens) for answer in answer_all(backend, [*requests, None]))


def _peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return peak_memory() or 0

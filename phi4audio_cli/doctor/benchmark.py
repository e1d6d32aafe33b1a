"""Speed and memory of a checkpoint on this machine, for `phi4audio bench`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.backend_loader import load_backend
from phi4audio_cli.doctor.audio_checks import bundled_sample
from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.local import LocalBackend
from phi4audio_cli.model.quantize import parameter_count, weight_bytes
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Request, RequestFailed, Samples

if TYPE_CHECKING:
    import torch

TIMED_TOKENS = 96
"""Written to measure the speed of one answer, whatever the model would say."""


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What was measured."""

    model: str
    device: str
    dtype: str
    quantize: str
    parameters: int
    weight_bytes: int
    load_seconds: float
    peak_memory: int | None
    """Bytes: of the device where it counts them, else of the process; None: nobody says."""
    tokens_per_second: float
    """Of one answer alone, once the model is warm and the audio is heard."""
    rtfx: float
    """Seconds of audio a second, in batches: features and network, words not aligned."""
    audio_seconds: float
    batch_size: int


def run_benchmark(settings: Settings, minutes: float) -> BenchmarkResult:
    """Load a model, and transcribe bundled speech repeatedly.

    Args:
        settings: Model, device, dtype, batch size and others.
        minutes: Amount of audio.

    Raises:
        ModelError: It can't be loaded or run here.
    """
    began = time.perf_counter()
    backend = load_backend(settings)
    loaded = time.perf_counter() - began
    weights = list(backend.model.parameters())
    requests = list(_benchmark_requests(settings.chunk_seconds, 60 * minutes))
    rate = _tokens_per_second(backend, requests[0])
    seconds = sum(request.chunk.seconds for request in requests if request.chunk)
    return BenchmarkResult(
        model=settings.model,
        device=str(weights[0].device),
        dtype=str(weights[0].dtype).removeprefix("torch."),
        quantize=settings.quantize,
        parameters=parameter_count(backend.model),
        weight_bytes=weight_bytes(backend.model),
        load_seconds=loaded,
        tokens_per_second=rate,
        rtfx=seconds / _time_answers(backend, requests),
        audio_seconds=seconds,
        batch_size=backend.batch_size,
        peak_memory=_peak_memory(weights[0].device),
    )


def _benchmark_requests(chunk_seconds: float, seconds: float) -> Iterator[Request]:
    """Ask for the transcript of so many seconds of speech, chunk by chunk."""
    speech, rate = bundled_sample("interview")
    task = Transcribe("English", align="none")
    for chunk in chunk_at_silence(
        _repeat_samples(speech, int(seconds * rate)), rate, chunk_seconds
    ):
        yield from task.requests(0, chunk)


def _repeat_samples(speech: Samples, length: int) -> Iterator[Samples]:
    for start in count(step=len(speech)):
        if start >= length:
            return
        yield speech[: length - start]


def _tokens_per_second(backend: LocalBackend, request: Request) -> float:
    """Write an answer of fixed length, and one of a single token to take off what comes before."""
    spent = {}
    for tokens in (1, 1, TIMED_TOKENS):  # what happens once happens in the first
        row = backend.inputs.prepare(replace(request, max_new_tokens=tokens))
        began = time.perf_counter()
        generate(backend.model, [row], ())
        spent[tokens] = time.perf_counter() - began
    return (TIMED_TOKENS - 1) / max(spent[TIMED_TOKENS] - spent[1], 1e-9)


def _time_answers(backend: LocalBackend, requests: list[Request]) -> float:
    """Answer all requests.

    Raises:
        Exception: What kept one from being answered.
    """
    began = time.perf_counter()
    for answer in backend.generate([*requests, None]):
        if isinstance(answer, RequestFailed):
            raise answer.error
    return time.perf_counter() - began


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

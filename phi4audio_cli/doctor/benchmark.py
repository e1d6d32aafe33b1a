"""Speed and memory of a checkpoint on this machine, for `phi4audio bench`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.backend_loader import load_backend
from phi4audio_cli.doctor.audio_checks import bundled_sample
from phi4audio_cli.model.batch_decoder import BatchDecoder
from phi4audio_cli.model.encoder_cache import EncoderCache
from phi4audio_cli.model.inputs import ModelInput
from phi4audio_cli.model.quantization import parameter_count, weight_bytes
from phi4audio_cli.model.torch_backend import TorchBackend
from phi4audio_cli.process_memory import peak_memory
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Request, RequestFailed, Samples

if TYPE_CHECKING:
    import torch

TIMED_TOKENS = 96
"""Length of the answer in the measurement of decoding; end tokens are ignored."""


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """Result of the benchmark."""

    model: str
    device: str
    dtype: str
    quantize: str
    parameters: int
    weight_bytes: int
    load_seconds: float
    peak_memory: int | None
    """Bytes, of a CUDA device or else of the process; None: not known."""
    tokens_per_second: float
    """Of one answer alone, after warm-up, without the encoder and the prefill."""
    rtfx: float
    """Seconds of audio per second, in batches, with features and network, without alignment."""
    audio_seconds: float
    batch_size: int


def run_benchmark(settings: Settings, minutes: float) -> BenchmarkResult:
    """Load a model and transcribe bundled speech, repeated to the given length.

    Args:
        settings: Model, device, dtype, batch size and others.
        minutes: Length of the audio.

    Raises:
        ModelError: The checkpoint can't be loaded or run on this machine.
    """
    began = time.perf_counter()
    backend = load_backend(settings)
    loaded = time.perf_counter() - began
    weights = list(backend.network.parameters())
    requests = list(_benchmark_requests(settings.chunk_seconds, 60 * minutes))
    rate = _tokens_per_second(backend, requests[0])
    seconds = sum(request.chunk.seconds for request in requests if request.chunk)
    return BenchmarkResult(
        model=settings.model,
        device=str(weights[0].device),
        dtype=str(weights[0].dtype).removeprefix("torch."),
        quantize=settings.quantize,
        parameters=parameter_count(backend.network),
        weight_bytes=weight_bytes(backend.network),
        load_seconds=loaded,
        tokens_per_second=rate,
        rtfx=seconds / _time_answers(backend, requests),
        audio_seconds=seconds,
        batch_size=backend.batch_size,
        peak_memory=_peak_device_memory(weights[0].device),
    )


def _benchmark_requests(chunk_seconds: float, seconds: float) -> Iterator[Request]:
    """Yield requests for the transcript of `seconds` of speech, chunk by chunk."""
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


def _tokens_per_second(backend: TorchBackend, request: Request) -> float:
    """Time an answer of fixed length, minus an answer of one token: encoder and prefill."""
    spent = {}
    for tokens in (1, 1, TIMED_TOKENS):  # the first one is the warm-up
        model_input = backend.builder.build(replace(request, max_new_tokens=tokens))
        began = time.perf_counter()
        _decode(backend, model_input)
        spent[tokens] = time.perf_counter() - began
    return (TIMED_TOKENS - 1) / max(spent[TIMED_TOKENS] - spent[1], 1e-9)


def _decode(backend: TorchBackend, model_input: ModelInput) -> None:
    """Decode one prompt to the end of its token budget, whatever the tokens are."""
    decoder = BatchDecoder(backend.network, stop_tokens=())
    decoder.allocate(1, model_input.max_length)
    [sequence] = decoder.prefill([(model_input, EncoderCache(backend.network, 1).get(model_input))])
    while not sequence.done:
        decoder.step()


def _time_answers(backend: TorchBackend, requests: list[Request]) -> float:
    """Answer all requests and return the seconds.

    Raises:
        Exception: The error of a failed request.
    """
    began = time.perf_counter()
    for answer in backend.generate([*requests, None]):
        if isinstance(answer, RequestFailed):
            raise answer.error
    return time.perf_counter() - began


def _peak_device_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    return peak_memory()

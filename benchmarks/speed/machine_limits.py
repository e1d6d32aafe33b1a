"""Lower bounds of stage times: operations over matrix throughput, bytes over bandwidth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from phi4audio_cli.model.batch_decoder import BatchDecoder
from phi4audio_cli.model.inputs import ModelInput
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.network.cpu_kernels import has_onednn
from phi4audio_cli.types import WIDE_BAND, Chunk, Request, Samples

MATRIX_SIDE = 2048
COPIED_BYTES = 1 << 28
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """Measured on this machine, in the checkpoint's dtype."""

    flops: float
    """Operations per second of a product of large matrices."""
    bandwidth: float
    """Bytes per second read by a product of a large matrix with a vector."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """The work of a checkpoint's stages."""

    encoder: float
    """Operations per second of audio."""
    prefill: float
    """Operations per second of audio."""
    step: float
    """Bytes of weights that a decode step reads."""
    token: float
    """Operations per token, without attention."""


def measure_machine(device: str, dtype: torch.dtype) -> MachineLimits:
    """Measure matrix throughput and bandwidth; the best of several rounds."""
    matrix = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device).to(dtype)
    vector = torch.randn(MATRIX_SIDE, device=device).to(dtype)
    tall = matrix.repeat(COPIED_BYTES // matrix.nbytes, 1)
    product = _best_time(lambda: matrix @ matrix, device)
    reading = _best_time(lambda: tall @ vector, device)
    return MachineLimits(2 * MATRIX_SIDE**3 / product, tall.nbytes / reading)


def measure_cost(folder: Path, samples: Samples, device: str, dtype: str) -> StageCost:
    """Count the operations of one chunk in encoder and prefill, and the bytes of a step."""
    backend = open_torch_backend(folder, device=device, dtype=dtype)
    seconds = len(samples) / WIDE_BAND
    network = backend.network
    request = Request(0, Chunk(0, samples, WIDE_BAND, 0), "Transcribe.", 1)
    model_input = backend.builder.build(request)
    clips = [each for each in (model_input.features,) if each is not None]
    with torch.inference_mode():
        encoder = _count_flops(lambda: network.encode_clips(clips))
        [embeddings] = network.encode_clips(clips)
        prefill = _count_flops(lambda: _prefill(backend, model_input, embeddings))
    decoder = [network.model.layers, network.lm_head]
    weights = [each for part in decoder for each in part.parameters()]
    step = sum(weight.nbytes for weight in weights)
    token = 2 * sum(weight.numel() for weight in weights)
    return StageCost(encoder / seconds, prefill / seconds, float(step), float(token))


def minimum_seconds(
    machine: MachineLimits, cost: StageCost, seconds: float, tokens: int, batch: int
) -> dict[str, float]:
    """Return the lower bound of each stage in seconds, for some audio and tokens."""
    return {
        "encoder": seconds * cost.encoder / machine.flops,
        "prefill": seconds * cost.prefill / machine.flops,
        "decode steps": max(
            tokens / batch * cost.step / machine.bandwidth, tokens * cost.token / machine.flops
        ),
    }


def _prefill(backend: TorchBackend, model_input: ModelInput, embeddings: torch.Tensor) -> None:
    decoder = BatchDecoder(backend.network, ())
    decoder.allocate(1, model_input.max_length)
    decoder.prefill([(model_input, embeddings)])


def _count_flops(run: Callable[[], Any]) -> float:
    counted = {torch.ops.mkldnn._linear_pointwise: _packed_flops} if has_onednn() else {}
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        run()
    return float(counter.get_total_flops())


def _packed_flops(hidden: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Return the operations of a product that torch's counter doesn't know, from its shapes."""
    return 2 * math.prod(hidden) * weight[0]


def _best_time(run: Callable[[], Any], device: str) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)

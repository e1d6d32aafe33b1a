"""Check the device and its free memory."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from phi4audio_cli.doctor.environment_checks import Check
from phi4audio_cli.formatting import format_bytes

if TYPE_CHECKING:
    import torch

    from phi4audio_cli.checkpoint import Checkpoint
    from phi4audio_cli.settings import Settings


def check_device(settings: Settings) -> Check:
    """Return the device of a job, and the other devices.

    Raises:
        ModelError: The requested device is missing.
    """
    import torch

    from phi4audio_cli.model.devices import choose_device
    from phi4audio_cli.model.placement import free_memory

    chosen = choose_device(settings.device)
    found = f"{_describe_device(chosen)}, {format_bytes(free_memory(chosen))} free"
    others = [f"cuda:{index}" for index in range(torch.cuda.device_count())][1:]
    if others:
        found += f" (also {', '.join(others)})"
    if chosen.type == "cpu" and shutil.which("nvidia-smi") and not torch.cuda.is_available():
        remedy = "install PyTorch for your CUDA version, and check the driver with nvidia-smi"
        return Check("device", "warn", f"{found}; torch can't use the GPU of this machine", remedy)
    return Check("device", "ok", found)


def check_memory(settings: Settings, checkpoint: Checkpoint) -> Check:
    """Compare the memory of the weights and one batch with the free memory.

    Raises:
        ModelError: The weights don't fit, or the dtype is unknown.
    """
    from phi4audio_cli.model.devices import choose_device, choose_dtype
    from phi4audio_cli.model.loading import build
    from phi4audio_cli.model.memory_estimate import (
        BATCH_MEMORY_SHARE,
        TRANSCRIPT_TOKENS,
        BatchMemory,
        auto_batch_size,
    )
    from phi4audio_cli.model.placement import free_memory, plan_placement, total_bytes
    from phi4audio_cli.model.quantization import Quantization, float32_equivalent

    chosen = choose_device(settings.device)
    parameters = float32_equivalent(
        settings.quantize, checkpoint.config, checkpoint.audio_parameters
    )
    dtype = choose_dtype(settings.dtype, chosen, parameters)
    quantization = Quantization.of(settings.quantize, chosen, dtype)
    network = build(checkpoint.config)
    notice = plan_placement(network, chosen, dtype, quantization).notice()
    weights = total_bytes(network, dtype, quantization)
    wanted, free = settings.batch_size, free_memory(chosen)
    rows = auto_batch_size(network, chosen, dtype, quantization) if wanted == "auto" else wanted
    estimate = BatchMemory(network.config, dtype.itemsize, chosen.type == "cuda")
    batch = estimate.peak(rows, settings.chunk_seconds, TRANSCRIPT_TOKENS)
    found = (
        f"{format_bytes(weights)} of weights in {str(dtype).removeprefix('torch.')}, about "
        f"{format_bytes(batch)} for {rows} chunks at once"
    )
    if notice:
        return Check("memory", "warn", f"{found}; {notice}", "--dtype bfloat16, or a larger device")
    if weights + batch > free:
        fitting = estimate.max_batch_size(
            BATCH_MEMORY_SHARE * (free - weights), settings.chunk_seconds, TRANSCRIPT_TOKENS
        )
        return Check("memory", "warn", f"{found}: may not fit", f"--batch-size {fitting}")
    return Check("memory", "ok", found)


def _describe_device(chosen: torch.device) -> str:
    import torch

    if chosen.type == "cuda":
        return f"{chosen} {torch.cuda.get_device_name(chosen)}"
    return f"{chosen} with {os.cpu_count()} cores" if chosen.type == "cpu" else str(chosen)

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
        ModelError: The weights don't fit, or dtype or attention can't be had.
    """
    from phi4audio_cli.model.devices import choose_attention, choose_device, choose_dtype
    from phi4audio_cli.model.load import build
    from phi4audio_cli.model.need import FREE_SHARE, USUAL_TOKENS, Need, rows_that_fit
    from phi4audio_cli.model.placement import free_memory, place, total_bytes
    from phi4audio_cli.model.quantize import Quantization, wide_parameters

    chosen = choose_device(settings.device)
    parameters = wide_parameters(settings.quantize, checkpoint.config, checkpoint.audio_parameters)
    dtype = choose_dtype(settings.dtype, chosen, parameters)
    quantized = Quantization.of(settings.quantize, chosen, dtype)
    model = build(checkpoint.config, choose_attention(settings.attention, chosen, dtype))
    note = place(model, chosen, dtype, quantized).note()
    weights = total_bytes(model, dtype, quantized)
    wanted, free = settings.batch_size, free_memory(chosen)
    rows = rows_that_fit(model, chosen, dtype, quantized) if wanted == "auto" else wanted
    need = Need(model.config, dtype.itemsize, chosen.type == "cuda")
    batch = need.peak(rows, settings.chunk_seconds, USUAL_TOKENS)
    found = (
        f"{format_bytes(weights)} of weights in {str(dtype).removeprefix('torch.')}, about "
        f"{format_bytes(batch)} for {rows} chunks at once"
    )
    if note:
        return Check("memory", "warn", f"{found}; {note}", "--dtype bfloat16, or a larger device")
    if weights + batch > free:
        fitting = need.most_rows(
            FREE_SHARE * (free - weights), settings.chunk_seconds, USUAL_TOKENS
        )
        return Check("memory", "warn", f"{found}: may not fit", f"--batch-size {fitting}")
    return Check("memory", "ok", found)


def _describe_device(chosen: torch.device) -> str:
    import torch

    if chosen.type == "cuda":
        return f"{chosen} {torch.cuda.get_device_name(chosen)}"
    return f"{chosen} with {os.cpu_count()} cores" if chosen.type == "cpu" else str(chosen)

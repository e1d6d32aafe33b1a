"""Device and dtype of the network: checks those that are asked for, and chooses for `auto`."""

from __future__ import annotations

import psutil
import torch

from phi4audio_cli.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CPU_WEIGHTS_SHARE = 0.8
"""Share of the free memory that float32 weights may take, so that activations and cache fit."""


def choose_device(wanted: str) -> torch.device:
    """Return the device to run on.

    Args:
        wanted: `auto`, or torch's name: `cpu`, `mps`, `cuda`, `cuda:1`.

    Raises:
        ModelError: torch doesn't know the device, or this machine doesn't have it.
    """
    if wanted == "auto":
        return torch.device(_best_device())
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ModelError(
            f"unknown device {wanted!r}", where="--device", remedy="auto, cpu, cuda, cuda:N or mps"
        ) from error
    if not _is_available(device):
        raise ModelError(
            f"this machine has no {wanted} that torch can use",
            where="--device",
            remedy=f"--device auto would take {_best_device()}",
        )
    return device


def choose_dtype(wanted: str, device: torch.device, parameters: int) -> torch.dtype:
    """Return the dtype of the weights.

    `auto` is bfloat16 where the device computes with it, float16 on older GPUs, and float32 on a
    CPU without bfloat16 instructions, unless that doesn't fit its free memory.

    Args:
        wanted: `auto`, `float32`, `bfloat16` or `float16`.
        device: Device of the weights.
        parameters: Number of weights.

    Raises:
        ModelError: Unknown dtype.
    """
    if wanted in DTYPES:
        return DTYPES[wanted]
    if wanted != "auto":
        raise ModelError(
            f"unknown dtype {wanted!r}", where="--dtype", remedy=f"auto, {', '.join(DTYPES)}"
        )
    if device.type == "cuda":
        ampere_or_newer = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if ampere_or_newer else torch.float16
    if device.type == "mps":
        newer = torch.backends.mps.is_macos_or_newer(14, 0)
        return torch.bfloat16 if newer else torch.float32
    fits = parameters * 4 <= CPU_WEIGHTS_SHARE * psutil.virtual_memory().available
    return torch.float32 if fits and not _cpu_has_bfloat16() else torch.bfloat16


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_available(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


def _cpu_has_bfloat16() -> bool:
    # The oldest supported torch has no such function.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))

"""Where and how the network runs: device, dtype and attention, chosen or checked."""

from __future__ import annotations

import psutil
import torch
from transformers.utils import is_flash_attn_2_available

from phi4audio_cli.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ATTENTIONS = ("flash_attention_2", "sdpa", "eager")
CPU_MEMORY_SHARE = 0.8
"""Share of the free memory that the weights may take; the rest is for activations and cache."""


def choose_device(wanted: str) -> torch.device:
    """Return the device to run on.

    Args:
        wanted: `auto`, or what torch takes: `cpu`, `mps`, `cuda`, `cuda:1`.

    Raises:
        ModelError: torch doesn't know the device, or this machine doesn't have it.
    """
    if wanted == "auto":
        return torch.device(_best_device())
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ModelError(
            f"{wanted!r} is no device", where="--device", remedy="auto, cpu, cuda, cuda:N or mps"
        ) from error
    if not _is_there(device):
        raise ModelError(
            f"this machine has no {wanted} that torch can use",
            where="--device",
            remedy=f"--device auto would take {_best_device()}",
        )
    return device


def choose_dtype(wanted: str, device: torch.device, parameters: int) -> torch.dtype:
    """Return the dtype of the weights.

    `auto` is bfloat16 where the device is good at it, float16 on older GPUs, and float32 on a
    CPU without bfloat16 instructions, unless that wouldn't fit its free memory.

    Args:
        wanted: `auto`, `float32`, `bfloat16` or `float16`.
        device: Where the weights will lie.
        parameters: Number of weights.

    Raises:
        ModelError: No such dtype.
    """
    if wanted in DTYPES:
        return DTYPES[wanted]
    if wanted != "auto":
        raise ModelError(
            f"{wanted!r} is no dtype", where="--dtype", remedy=f"auto, {', '.join(DTYPES)}"
        )
    if device.type == "cuda":
        return torch.bfloat16 if _is_ampere_or_newer(device) else torch.float16
    if device.type == "mps":
        newer = torch.backends.mps.is_macos_or_newer(14, 0)
        return torch.bfloat16 if newer else torch.float32
    fits = parameters * 4 <= CPU_MEMORY_SHARE * psutil.virtual_memory().available
    return torch.float32 if fits and not _cpu_has_bfloat16() else torch.bfloat16


def choose_attention(wanted: str, device: torch.device, dtype: torch.dtype) -> str:
    """Return the decoder's attention implementation, by transformers' name.

    `auto` is flash_attention_2 where it is installed and the device supports it, else sdpa.

    Raises:
        ModelError: No such implementation, or it can't run here.
    """
    flash = (
        device.type == "cuda"
        and dtype != torch.float32
        and _is_ampere_or_newer(device)
        and is_flash_attn_2_available()
    )
    if wanted == "auto":
        return "flash_attention_2" if flash else "sdpa"
    if wanted not in ATTENTIONS:
        raise ModelError(
            f"{wanted!r} is no attention implementation",
            where="--attention",
            remedy=f"auto, {', '.join(ATTENTIONS)}",
        )
    if wanted == "flash_attention_2" and not flash:
        raise ModelError(
            "flash_attention_2 needs the flash-attn package, a GPU of the Ampere generation or"
            " newer, and bfloat16 or float16",
            where="--attention",
            remedy="--attention sdpa runs everywhere",
        )
    return wanted


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


def _is_ampere_or_newer(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _cpu_has_bfloat16() -> bool:
    capabilities: dict[str, object] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # newer than our oldest torch
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))

"""Failures of the network: out of memory, a lost device, or anything else."""

from __future__ import annotations

import gc
import traceback
from dataclasses import dataclass

import torch

from phi4audio_cli.errors import FileError, ModelError
from phi4audio_cli.types import ENCODER_WINDOW_SECONDS, Request

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
    "unable to allocate",
)
"""Parts of messages, lower case: of GPUs, torch on the CPU and on Windows, cuBLAS, and NumPy."""

_DEVICE_LOST = ("cuda error", "device-side assert", "illegal memory access", "hip error")
"""Parts of messages after which every further call on the device fails in this process."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of one pass of the network, classified."""

    error: Exception
    is_oom: bool
    """Whether memory ran out, so that fewer sequences at once may help."""


def classify(error: Exception, device: torch.device) -> Failure:
    """Classify a caught exception, and release the tensors that its frames hold.

    Raises:
        ModelError: The device is lost, so no retry can succeed.
    """
    _clear_frames(error)
    if is_oom(error):
        return Failure(error, is_oom=True)
    if isinstance(error, RuntimeError) and _mentions(error, _DEVICE_LOST):
        raise ModelError(
            f"the device failed: {first_line(error)}",
            where=str(device),
            remedy="finished recordings are kept, and the same command resumes; "
            "if it happens again, try --device cpu",
        ) from error
    return Failure(error, is_oom=False)


def is_oom(error: Exception) -> bool:
    """Return whether memory ran out, on a device or on the CPU."""
    return isinstance(error, MemoryError) or _mentions(error, _OUT_OF_MEMORY)


def release_memory() -> None:
    """Return unreferenced memory to the device, so that a smaller batch can use it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def out_of_memory_error(request: Request, device: torch.device, dtype: torch.dtype) -> FileError:
    """Return the error of a request that doesn't fit the memory even alone."""
    remedies = []
    if request.chunk is not None:
        long = request.chunk.seconds > ENCODER_WINDOW_SECONDS
        remedies.append("a smaller --max-minutes" if long else "a smaller --chunk-seconds")
    if dtype == torch.float32:
        remedies.append("--dtype bfloat16")
    if device.type != "cpu":
        remedies.append("--device cpu")
    remedies.append("free some memory")
    return FileError(
        f"{_described(request)} doesn't fit the memory of {device}", remedy=", or ".join(remedies)
    )


def overflow_error(request: Request, dtype: torch.dtype) -> FileError:
    """Return the error of a request whose logits are not finite."""
    remedy = "--dtype bfloat16, or float32" if dtype == torch.float16 else "--dtype float32"
    if dtype == torch.float32:
        remedy = "check the checkpoint with phi4audio doctor"
    return FileError(f"the network's numbers overflow on {_described(request)}", remedy=remedy)


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or its type where it has none."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _clear_frames(error: BaseException | None) -> None:
    """Clear the frames below the caller's, which hold the tensors of the failed pass."""
    while error is not None:
        below = error.__traceback__ and error.__traceback__.tb_next
        traceback.clear_frames(below)
        error = error.with_traceback(below).__context__


def _mentions(error: Exception, phrases: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(phrase in text for phrase in phrases)


def _described(request: Request) -> str:
    chunk = request.chunk
    if chunk is None:
        return "a text"
    return f"the audio from {chunk.start_seconds:.1f} to {chunk.stop_seconds:.1f} s"

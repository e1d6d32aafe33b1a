"""What went wrong while the network ran, and what can be done about it."""

from __future__ import annotations

import gc
import traceback
from dataclasses import dataclass

import torch

from phi4audio_cli.errors import FileError, ModelError
from phi4audio_cli.model.memory import ENCODER_SECONDS
from phi4audio_cli.types import Request

_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
    "unable to allocate",
)
"""In messages, lower case: GPUs, torch on the CPU and on Windows, cuBLAS, NumPy inside others."""

_DEVICE_LOST = ("cuda error", "device-side assert", "illegal memory access", "hip error")
"""After these every further call on the device fails, until the process ends."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A batch that could not be answered."""

    error: Exception
    of_memory: bool
    """Whether fewer rows at once may help."""


def understand(error: Exception, device: torch.device) -> Failure:
    """Tell what kind of failure a caught exception is, and let go of what its frames hold.

    Raises:
        ModelError: The device is lost; there is no use in going on.
    """
    _let_go(error)
    if is_of_memory(error):
        return Failure(error, of_memory=True)
    if isinstance(error, RuntimeError) and _says(error, _DEVICE_LOST):
        raise ModelError(
            f"the device failed: {_first_line(error)}",
            where=str(device),
            remedy="what is finished is kept, and the same command goes on; "
            "if it happens again, try --device cpu",
        ) from error
    return Failure(error, of_memory=False)


def is_of_memory(error: Exception) -> bool:
    """Whether there was not enough memory, whoever says so."""
    return isinstance(error, MemoryError) or _says(error, _NO_MEMORY)


def release_memory() -> None:
    """Give back what nobody holds any more, so that a smaller batch finds room."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def too_large(request: Request, device: torch.device, dtype: torch.dtype) -> FileError:
    """The error for a request that doesn't fit the memory even alone; says what to change."""
    changes = []
    if request.chunk is not None:
        long = request.chunk.seconds > ENCODER_SECONDS
        changes.append("a smaller --max-minutes" if long else "a smaller --chunk-seconds")
    if dtype == torch.float32:
        changes.append("--dtype bfloat16")
    if device.type != "cpu":
        changes.append("--device cpu")
    changes.append("free some memory")
    return FileError(
        f"{_what(request)} doesn't fit the memory of {device}", remedy=", or ".join(changes)
    )


def not_finite(request: Request, dtype: torch.dtype) -> FileError:
    """The error for a request whose numbers overflowed on their way through the network."""
    remedy = "--dtype bfloat16, or float32" if dtype == torch.float16 else "--dtype float32"
    if dtype == torch.float32:
        remedy = "look at the checkpoint with phi4audio doctor"
    return FileError(f"the network's numbers overflow on {_what(request)}", remedy=remedy)


def _let_go(error: BaseException | None) -> None:
    """Clear the frames below the caller's: they hold the batch's tensors, and the error them."""
    while error is not None:
        below = error.__traceback__ and error.__traceback__.tb_next
        traceback.clear_frames(below)
        error = error.with_traceback(below).__context__


def _says(error: Exception, phrases: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(phrase in text for phrase in phrases)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _what(request: Request) -> str:
    chunk = request.chunk
    if chunk is None:
        return "a text"
    return f"the stretch from {chunk.start_seconds:.1f} to {chunk.stop_seconds:.1f} s"

"""Map tensors of safetensors files: one mapping and one descriptor per file.

A mapping of Python keeps its file open, so a mapping per tensor would need as many descriptors as
the checkpoint has tensors; many systems allow 256 or 1,024 per process.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from pathlib import Path

import torch

from phi4audio_cli.checkpoint.safetensors_reader import (
    DOWNLOAD_AGAIN,
    TensorInfo,
    read_tensor,
)
from phi4audio_cli.errors import CheckpointError


class MappedFiles:
    """Maps each file of a checkpoint once, at its first tensor.

    A mapping ends when this object and all tensors of the file are freed. The files may be renamed
    or deleted, but they must not be truncated or overwritten in place.
    """

    def __init__(self) -> None:
        self._mappings: dict[Path, mmap.mmap] = {}

    def tensor(self, info: TensorInfo) -> torch.Tensor:
        """Return the tensor as pages of its file, which are read when they are used.

        Processes that map one file share its memory. Changes of the tensor stay in this process,
        and are lost when the tensor is freed, as its pages are. A tensor whose position does not
        fit its dtype is read.

        Raises:
            CheckpointError: The file ends before the tensor does, or can't be read.
        """
        if not info.nbytes or info.offset % info.dtype.itemsize:
            return read_tensor(info)
        mapping = self._map(info)
        if info.offset + info.nbytes > len(mapping):
            raise CheckpointError(
                "the file ends inside the tensor", info.description, DOWNLOAD_AGAIN
            )
        # Each tensor has a buffer object of its own: the end of that object frees the pages.
        buffer = (ctypes.c_ubyte * info.nbytes).from_buffer(mapping, info.offset)
        freed = weakref.finalize(buffer, _free_pages, mapping, info.offset, info.nbytes)
        freed.atexit = False
        return torch.frombuffer(buffer, dtype=info.dtype, count=info.numel).reshape(info.shape)

    def _map(self, info: TensorInfo) -> mmap.mmap:
        if info.file not in self._mappings:
            try:
                self._mappings[info.file] = _map_file(info.file)
            except OSError as error:
                raise CheckpointError(
                    f"can't be read: {error.strerror}", info.description
                ) from error
            except ValueError as error:
                raise CheckpointError("is empty", str(info.file), DOWNLOAD_AGAIN) from error
        return self._mappings[info.file]


def _map_file(file: Path) -> mmap.mmap:
    """Map a whole file copy-on-write.

    Raises:
        OSError: It can't be opened or mapped.
        ValueError: It is empty.
    """
    with file.open("rb") as stream:
        if os.name != "posix":
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        # Without a reservation Linux also maps files that are larger than the main memory.
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)
        return mmap.mmap(stream.fileno(), 0, flags, mmap.PROT_READ | mmap.PROT_WRITE)


def _free_pages(mapping: mmap.mmap, offset: int, nbytes: int) -> None:
    """Free the memory of the pages that belong to one tensor alone."""
    start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (offset + nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - start
    if length > 0 and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED, start, length)

"""Write safetensors shards: the header first, then one tensor after the other.

The safetensors library needs all tensors of a file in memory. Here all sizes are known before the
first byte, so that only a few blocks are in memory, and equal input gives equal bytes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from phi4audio_cli.background import prefetch
from phi4audio_cli.checkpoint.layout import INDEX_FILE, WEIGHTS_FILE
from phi4audio_cli.checkpoint.safetensors_reader import DTYPES

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ALIGNMENT = 8
PREFETCH_BLOCKS = 2
"""Blocks that are read and merged ahead; a merged block is a whole tensor of up to 100 MB."""

ByteProgress = Callable[[int], None]
"""Called with the number of bytes that were just written or read."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor to write."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """A file to write, and its tensors in order."""

    file: str
    tensors: tuple[TensorSpec, ...]

    @property
    def header(self) -> bytes:
        """The bytes before the first tensor."""
        entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for spec in self.tensors:
            entries[spec.name] = {
                "dtype": _DTYPE_NAMES[spec.dtype],
                "shape": list(spec.shape),
                "data_offsets": [offset, offset + spec.nbytes],
            }
            offset += spec.nbytes
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        return len(text).to_bytes(_ALIGNMENT, "little") + text

    @property
    def nbytes(self) -> int:
        """Size of the whole file."""
        return len(self.header) + sum(spec.nbytes for spec in self.tensors)


def plan_shards(tensors: Iterable[TensorSpec], max_bytes: int) -> tuple[ShardSpec, ...]:
    """Distribute tensors over files, in their order.

    Args:
        tensors: All tensors.
        max_bytes: Size of the tensors of a file; only a single larger tensor exceeds it.
    """
    groups: list[list[TensorSpec]] = [[]]
    size = 0
    for spec in tensors:
        if groups[-1] and size + spec.nbytes > max_bytes:
            groups.append([])
            size = 0
        groups[-1].append(spec)
        size += spec.nbytes
    count = len(groups)
    return tuple(
        # Wide dtypes first, so that each tensor starts at a multiple of its element size.
        ShardSpec(_shard_name(i, count), tuple(sorted(group, key=lambda t: -t.dtype.itemsize)))
        for i, group in enumerate(groups, 1)
    )


def shard_index(shards: Sequence[ShardSpec]) -> dict[str, Any] | None:
    """Return the content of the index file; None: there is only one file."""
    if len(shards) == 1:
        return None
    total = sum(spec.nbytes for shard in shards for spec in shard.tensors)
    places = {spec.name: shard.file for shard in shards for spec in shard.tensors}
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}


def write_shards(
    folder: Path,
    shards: Sequence[ShardSpec],
    blocks_of: Callable[[str], Iterable[torch.Tensor]],
    on_bytes: ByteProgress,
) -> None:
    """Write weights, and the index if there are several files.

    Args:
        folder: An existing folder.
        shards: The files.
        blocks_of: Returns the elements of a tensor in order, in the planned dtype, in any blocks.
        on_bytes: Called with the number of written bytes.

    Raises:
        OSError: The disk is full or fails.
        ValueError: A tensor has another dtype or size than planned.
    """
    for shard in shards:
        with (folder / shard.file).open("wb", buffering=0) as file:
            _write_all(file.fileno(), shard.header)
            _write_tensors(file.fileno(), shard, blocks_of, on_bytes)
            os.fsync(file.fileno())
    if (content := shard_index(shards)) is not None:
        write_json(folder / INDEX_FILE, content)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file and flush it to the disk."""
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a UTF-8 file and flush it to the disk."""
    with file.open("wb") as stream:
        stream.write(text.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())


def _shard_name(number: int, count: int) -> str:
    return WEIGHTS_FILE if count == 1 else f"model-{number:05}-of-{count:05}.safetensors"


def _write_tensors(
    descriptor: int,
    shard: ShardSpec,
    blocks_of: Callable[[str], Iterable[torch.Tensor]],
    on_bytes: ByteProgress,
) -> None:
    written: Counter[str] = Counter()
    # A thread reads and merges the next blocks while the disk writes.
    stream = prefetch(_iter_blocks(shard, blocks_of), PREFETCH_BLOCKS)
    with closing(stream):
        for spec, block in stream:
            if block.dtype != spec.dtype:
                raise ValueError(f"{spec.name} has the dtype {block.dtype}, not {spec.dtype}")
            _write_all(descriptor, block.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            written[spec.name] += block.nbytes
            on_bytes(block.nbytes)
    for spec in shard.tensors:
        if (size := written[spec.name]) != spec.nbytes:
            raise ValueError(f"{spec.name} has {size} bytes, not {spec.nbytes}")


def _iter_blocks(
    shard: ShardSpec, blocks_of: Callable[[str], Iterable[torch.Tensor]]
) -> Iterator[tuple[TensorSpec, torch.Tensor]]:
    for spec in shard.tensors:
        for block in blocks_of(spec.name):
            yield spec, block


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        # A full disk can write a part of the data before it fails.
        view = view[os.write(descriptor, view) :]

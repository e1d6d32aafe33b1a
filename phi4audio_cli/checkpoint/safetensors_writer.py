"""Write safetensors shards: the header first, then one tensor after the other.

All sizes are known before the first byte, so nothing is buffered and equal input gives equal bytes.
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
"""Read, and merged, before they are wanted; a merged piece is a whole tensor of up to 100 MB."""

ByteProgress = Callable[[int], None]
"""Called with the number of bytes that were just written or read."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that will be written."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """A file that will be written, and its tensors in order."""

    file: str
    tensors: tuple[TensorSpec, ...]

    @property
    def header(self) -> bytes:
        """Everything in the file before the first tensor."""
        entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for planned in self.tensors:
            entries[planned.name] = {
                "dtype": _DTYPE_NAMES[planned.dtype],
                "shape": list(planned.shape),
                "data_offsets": [offset, offset + planned.nbytes],
            }
            offset += planned.nbytes
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        return len(text).to_bytes(_ALIGNMENT, "little") + text

    @property
    def nbytes(self) -> int:
        """Size of the whole file."""
        return len(self.header) + sum(planned.nbytes for planned in self.tensors)


def plan_shards(tensors: Iterable[TensorSpec], max_bytes: int) -> tuple[ShardSpec, ...]:
    """Deals tensors out to files, in their order.

    Args:
        tensors: All of them.
        max_bytes: Of tensors in a file; only a single larger tensor exceeds it.
    """
    groups: list[list[TensorSpec]] = [[]]
    size = 0
    for planned in tensors:
        if groups[-1] and size + planned.nbytes > max_bytes:
            groups.append([])
            size = 0
        groups[-1].append(planned)
        size += planned.nbytes
    count = len(groups)
    return tuple(
        # Wide dtypes first, so that each tensor starts at a multiple of its element's size.
        ShardSpec(_shard_name(i, count), tuple(sorted(group, key=lambda t: -t.dtype.itemsize)))
        for i, group in enumerate(groups, 1)
    )


def shard_index(shards: Sequence[ShardSpec]) -> dict[str, Any] | None:
    """The content of the index file, or None where one file holds everything."""
    if len(shards) == 1:
        return None
    total = sum(planned.nbytes for shard in shards for planned in shard.tensors)
    places = {planned.name: shard.file for shard in shards for planned in shard.tensors}
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}


def write_shards(
    folder: Path,
    shards: Sequence[ShardSpec],
    blocks_of: Callable[[str], Iterable[torch.Tensor]],
    on_bytes: ByteProgress,
) -> None:
    """Writes weights, and the index where there are several files.

    Args:
        folder: An existing folder.
        shards: What to write.
        blocks_of: Gives the elements of a name in order, in the planned dtype, in any parts.
        on_bytes: Hears of written bytes.

    Raises:
        OSError: The disk is full or fails.
        ValueError: A tensor isn't what was planned.
    """
    for shard in shards:
        with (folder / shard.file).open("wb", buffering=0) as file:
            _write_all(file.fileno(), shard.header)
            _write_tensors(file.fileno(), shard, blocks_of, on_bytes)
            os.fsync(file.fileno())
    if (content := shard_index(shards)) is not None:
        write_json(folder / INDEX_FILE, content)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """A JSON file that is on the disk when this returns."""
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """A UTF-8 file that is on the disk when this returns."""
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
    # Reading and merging go on in a thread while the disk takes what is there.
    stream = prefetch(_iter_blocks(shard, blocks_of), PREFETCH_BLOCKS)
    with closing(stream):
        for planned, piece in stream:
            if piece.dtype != planned.dtype:
                raise ValueError(f"{planned.name} came as {piece.dtype}, not {planned.dtype}")
            _write_all(descriptor, piece.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            written[planned.name] += piece.nbytes
            on_bytes(piece.nbytes)
    for planned in shard.tensors:
        if written[planned.name] != planned.nbytes:
            raise ValueError(
                f"{planned.name} came with {written[planned.name]} bytes, not {planned.nbytes}"
            )


def _iter_blocks(
    shard: ShardSpec, blocks_of: Callable[[str], Iterable[torch.Tensor]]
) -> Iterator[tuple[TensorSpec, torch.Tensor]]:
    for planned in shard.tensors:
        for piece in blocks_of(planned.name):
            yield planned, piece


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        # A full disk can take a part of what it is given before it fails.
        view = view[os.write(descriptor, view) :]

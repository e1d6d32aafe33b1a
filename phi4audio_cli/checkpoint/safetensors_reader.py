"""Read safetensors files: headers, and one tensor at a time.

The safetensors library maps a whole file, whose pages count as memory of the process: a load would
need the weights twice. `mapped_files` maps tensors and frees their pages. Format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import torch

from phi4audio_cli.checkpoint.layout import INDEX_FILE, PICKLE_PATTERNS, WEIGHTS_FILE
from phi4audio_cli.errors import CheckpointError

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

BLOCK_BYTES = 1 << 23
"""Size of the blocks in which a tensor is copied; the allocator reuses their memory."""

_HEADER_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
DOWNLOAD_AGAIN = "download or copy the checkpoint again"
"""The remedy of a damaged file."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, type, shape and position of a tensor, from the header of its file."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    file: Path
    offset: int
    """First byte in the file."""
    nbytes: int

    @property
    def description(self) -> str:
        """The tensor and its file, for messages."""
        return f"{self.name} in {self.file}"

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_tensor(info: TensorInfo) -> torch.Tensor:
    """Return the tensor on the CPU, in its stored dtype and with its own memory.

    Raises:
        CheckpointError: The file ends before the tensor does, or can't be read.
    """
    (flat,) = read_blocks(info, max(info.nbytes, 1)) if info.nbytes else (_allocate(info, 0),)
    return flat.reshape(info.shape)


def read_blocks(info: TensorInfo, max_bytes: int = BLOCK_BYTES) -> Iterator[torch.Tensor]:
    """Yield the tensor's elements in order, in flat blocks.

    Args:
        info: The tensor.
        max_bytes: Largest size of a block.

    Raises:
        CheckpointError: The file ends before the tensor does, or can't be read.
    """
    step = max(max_bytes // info.dtype.itemsize, 1)
    try:
        with info.file.open("rb", buffering=0) as file:
            file.seek(info.offset)
            for start in range(0, info.numel, step):
                block = _allocate(info, min(step, info.numel - start))
                if not _read_exactly(file, block.view(torch.uint8).numpy().data):
                    raise CheckpointError(
                        "the file ends inside the tensor", info.description, DOWNLOAD_AGAIN
                    )
                yield block
    except OSError as error:
        raise CheckpointError(f"can't be read: {error.strerror}", info.description) from error


def _allocate(info: TensorInfo, count: int) -> torch.Tensor:
    return torch.empty(count, dtype=info.dtype)


def _read_exactly(file: FileIO, view: memoryview) -> bool:
    """Read until `view` is full; return False if the file ends before."""
    done = 0
    # Linux reads at most 2 GiB at once.
    while done < len(view):
        count = file.readinto(view[done:])
        if not count:
            return False
        done += count
    return True


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Return the tensors of a safetensors file by name, after a check of the file's size.

    Raises:
        CheckpointError: The file can't be read, is truncated, or isn't safetensors.
    """
    try:
        size = file.stat().st_size
        header, start = _parse_header(file, size)
    except OSError as error:
        raise CheckpointError(f"can't be read: {error.strerror}", str(file)) from error
    infos = {
        name: _parse_tensor_info(file, name, entry, start)
        for name, entry in header.items()
        if name != "__metadata__"
    }
    end = max((info.offset + info.nbytes for info in infos.values()), default=start)
    if size != end:
        problem = "is truncated" if size < end else "is too long"
        what = f"{problem}: it has {size} bytes, by its header it should have {end}"
        raise CheckpointError(what, str(file), DOWNLOAD_AGAIN)
    return infos


def read_tensor_index(folder: Path) -> dict[str, TensorInfo]:
    """Return every stored tensor of a checkpoint by name, from the headers.

    Args:
        folder: A checkpoint with `model.safetensors`, or shards and their index.

    Raises:
        CheckpointError: Weights are missing or pickles, a shard is missing or damaged, or a name is
            stored twice.
    """
    if (folder / INDEX_FILE).is_file():
        return _read_sharded_index(folder)
    if (folder / WEIGHTS_FILE).is_file():
        return read_header(folder / WEIGHTS_FILE)
    refuse_pickles(folder)
    if shards := sorted(folder.glob("model-*.safetensors")):
        raise CheckpointError(
            f"has {len(shards)} shards, but no {INDEX_FILE}", str(folder), DOWNLOAD_AGAIN
        )
    raise CheckpointError(
        f"has no weights: neither {INDEX_FILE} nor {WEIGHTS_FILE}",
        str(folder),
        "name a folder with a complete checkpoint",
    )


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder whose weights are pickle files.

    Raises:
        CheckpointError: The folder has pickle files.
    """
    for pattern in PICKLE_PATTERNS:
        for file in sorted(folder.glob(pattern)):
            raise CheckpointError(
                "weights in a pickle file are refused, because opening one can run any code",
                str(file),
                "convert it to safetensors if you trust it",
            )


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object from a file of a checkpoint.

    Raises:
        CheckpointError: The file is missing or isn't a JSON object.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError("is missing", str(file), DOWNLOAD_AGAIN) from error
    except OSError as error:
        raise CheckpointError(f"can't be read: {error.strerror}", str(file)) from error
    except ValueError as error:
        raise CheckpointError(f"isn't JSON: {error}", str(file), DOWNLOAD_AGAIN) from error
    if not isinstance(found, dict):
        raise CheckpointError("isn't a JSON object", str(file), DOWNLOAD_AGAIN)
    return found


def _parse_header(file: Path, size: int) -> tuple[dict[str, Any], int]:
    """Return the header's JSON, and the position of the first tensor."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_HEADER_LENGTH_BYTES), "little")
        if size < _HEADER_LENGTH_BYTES or length > min(
            size - _HEADER_LENGTH_BYTES, _MAX_HEADER_BYTES
        ):
            raise CheckpointError("is truncated or isn't safetensors", str(file), DOWNLOAD_AGAIN)
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise CheckpointError("isn't safetensors", str(file), DOWNLOAD_AGAIN) from error
    return header, _HEADER_LENGTH_BYTES + length


def _parse_tensor_info(file: Path, name: str, entry: Any, start: int) -> TensorInfo:
    try:
        first, last = entry["data_offsets"]
        shape = tuple(int(extent) for extent in entry["shape"])
        kind = entry["dtype"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            "its header is damaged", f"{name} in {file}", DOWNLOAD_AGAIN
        ) from error
    if kind not in DTYPES:
        raise CheckpointError(f"has the dtype {kind}, which is not supported", f"{name} in {file}")
    info = TensorInfo(name, DTYPES[kind], shape, file, start + first, last - first)
    if info.nbytes != info.numel * info.dtype.itemsize:
        raise CheckpointError("its size does not fit its shape", info.description, DOWNLOAD_AGAIN)
    return info


def _read_sharded_index(folder: Path) -> dict[str, TensorInfo]:
    index = folder / INDEX_FILE
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError("has no weight_map", str(index), DOWNLOAD_AGAIN)
    infos: dict[str, TensorInfo] = {}
    for info in _iter_shard_tensors(folder, weight_map):
        if info.name in infos:
            raise CheckpointError("is stored twice", info.description, DOWNLOAD_AGAIN)
        infos[info.name] = info
    for name, file in weight_map.items():
        if name not in infos or infos[name].file.name != file:
            raise CheckpointError(
                f"is not in {file}, though the index says so", f"{name} of {index}", DOWNLOAD_AGAIN
            )
    return infos


def _iter_shard_tensors(folder: Path, weight_map: Mapping[str, str]) -> Iterator[TensorInfo]:
    for name in sorted(set(weight_map.values())):
        file = folder / name
        if file.parent != folder:
            raise CheckpointError("names a file outside its folder", str(folder / INDEX_FILE))
        if not file.is_file():
            raise CheckpointError(
                f"is missing, though {INDEX_FILE} names it", str(file), DOWNLOAD_AGAIN
            )
        yield from read_header(file).values()

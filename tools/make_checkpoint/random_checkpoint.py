"""Make a checkpoint with random weights in the original or the native layout.

It has the real names, shapes, shards and LoRAs, so that full-size measurements can be repeated
without the real weights (25 GB of disk). Its answers are nonsense. One tensor is in memory at a
time.

    python -m tools.make_checkpoint --layout original --size full build/original
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from phi4audio_cli.checkpoint.safetensors_writer import (
    TensorSpec,
    plan_shards,
    write_json,
    write_text,
)
from tools.make_checkpoint.byte_tokenizer import tokenizer, tokenizer_config
from tools.make_checkpoint.checkpoint_configs import (
    generation_config,
    native_config,
    original_config,
    preprocessor_config,
)
from tools.make_checkpoint.network_sizes import SIZES, NetworkSize
from tools.make_checkpoint.random_tensors import (
    native_shapes,
    original_shapes,
    write_adapter,
    write_random_shards,
)

SHARD_BYTES = 5_000_000_000
SMALL = SIZES["small"]


def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=("original", "native"), default="original")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    make(arguments.folder, arguments.layout, SIZES[arguments.size], seed=arguments.seed)


def make(
    folder: Path,
    layout: str,
    size: NetworkSize = SMALL,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a checkpoint, adapters included.

    Args:
        folder: Created if missing.
        layout: `original`, with the LoRAs among the weights, or `native`, with LoRA folders.
        size: Of the network.
        seed: Of the weights.
        dtype: Of the weights.
        shard_bytes: Largest size of a file in bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shapes = native_shapes(size)
    if layout == "original":
        write_json(folder / "config.json", original_config(size))
        shapes = dict(original_shapes(shapes, size))
    else:
        write_json(folder / "config.json", native_config(size))
        for kind, rank in (("speech", size.speech_rank), ("vision", size.vision_rank)):
            write_adapter(folder / f"{kind}-lora", shapes, rank, seed=seed, dtype=dtype)
    planned = [TensorSpec(name, dtype, shape) for name, shape in shapes.items()]
    shards = plan_shards(planned, shard_bytes)
    write_random_shards(folder, shards, seed)
    write_other_files(folder, layout, size)


def write_other_files(folder: Path, layout: str, size: NetworkSize) -> None:
    """Write tokenizer (byte-level), feature extractor, generation settings and licence."""
    write_json(folder / "tokenizer.json", tokenizer(layout, size))
    write_json(folder / "tokenizer_config.json", tokenizer_config(layout, size))
    write_json(folder / "preprocessor_config.json", preprocessor_config(layout))
    write_json(folder / "generation_config.json", generation_config(size))
    licence = "Random weights, made by python -m tools.make_checkpoint. MIT.\n"
    write_text(folder / "LICENSE", licence)


if __name__ == "__main__":
    main()

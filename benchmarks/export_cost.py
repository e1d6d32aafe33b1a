"""Measure strip-export against a plain copy, and one chunk of audio with and without vision.

Figures of docs/strip-export.md. The files that a measurement reads are removed from the page cache
before it. Peak memory is that of the process, with pages of mapped files.

    python -m benchmarks.export_cost export SOURCE WORK     # strip-export, then a copy of its files
    python -m benchmarks.export_cost chunk FOLDER AUDIO     # a few tokens in plain transformers
    python -m benchmarks.export_cost load FOLDER            # phi4audio's loading alone
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phi4audio_cli.process_memory import peak_memory

TOKENS = 4


def main() -> None:
    """Read the command line and print the measurement as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True, dest="command")
    export = commands.add_parser("export")
    export.add_argument("source", type=Path)
    export.add_argument("work", type=Path)
    chunk = commands.add_parser("chunk")
    chunk.add_argument("folder", type=Path)
    chunk.add_argument("audio", type=Path)
    load = commands.add_parser("load")
    load.add_argument("folder", type=Path)
    arguments = vars(parser.parse_args())
    command = arguments.pop("command")
    print(json.dumps(COMMANDS[command](**arguments), indent=2))


def measure_export(source: Path, work: Path) -> dict[str, Any]:
    """Export a checkpoint, then copy the export's files on the same disk."""
    out, copy = work / "export", work / "copy"
    shutil.rmtree(out, ignore_errors=True)
    drop_page_cache(source)
    command = [sys.executable, "-m", "phi4audio_cli", "strip-export", "--json"]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--source", source, "--out", out], check=True, stdout=subprocess.PIPE, text=True
    )
    wall = time.monotonic() - began
    table = json.loads(done.stdout)
    drop_page_cache(out)
    copied = copy_files(out, copy)
    shutil.rmtree(copy)
    return {
        "wall_seconds": round(wall, 1),
        "copy_seconds": round(copied, 1),
        "lora_seconds_once": round(lora_arithmetic(source), 1),
        **{key: table[key] for key in ("seconds", "peak_memory", "bytes", "parameters")},
        "verified": table["verified"],
    }


def copy_files(source: Path, target: Path) -> float:
    """Return the seconds of a plain copy, written to the disk."""
    shutil.rmtree(target, ignore_errors=True)
    os.sync()
    began = time.monotonic()
    shutil.copytree(source, target)
    for file in target.rglob("*"):
        if file.is_file():
            sync_file(file)
    return time.monotonic() - began


def lora_arithmetic(source: Path) -> float:
    """Return the seconds of all merges, without reading the base weights."""
    from phi4audio_cli.checkpoint import open_checkpoint
    from phi4audio_cli.checkpoint.safetensors_reader import read_tensor

    checkpoint = open_checkpoint(source)
    lora = checkpoint.adapter
    spent = 0.0
    if lora is None:
        return spent
    for module in lora.pairs:
        base = read_tensor(checkpoint.stored_tensors[f"{module}.weight"])
        began = time.monotonic()
        lora.merge_into(module, base)
        spent += time.monotonic() - began
    return spent


def measure_chunk(folder: Path, audio: Path) -> dict[str, Any]:
    """Load a native or stripped checkpoint in plain transformers and transcribe a chunk."""
    import soundfile
    import torch
    from transformers import AutoModelForCausalLM

    from phi4audio_cli.checkpoint.equivalence import build_inputs

    drop_page_cache(folder)
    began = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    if not any("image_embed" in name for name in stored_names(folder)):
        remove_vision(model)
    loaded = time.monotonic() - began
    after_load = peak_memory()
    samples, _ = soundfile.read(audio, dtype="float32", frames=40 * 16_000)
    inputs = build_inputs(folder, samples, model.config.audio_config.audio_token_id)
    began = time.monotonic()
    with torch.inference_mode():
        answer = model.generate(
            input_ids=inputs.input_ids,
            audio_input_features=inputs.audio_input_features.bfloat16(),
            audio_embed_sizes=inputs.audio_embed_sizes,
            max_new_tokens=TOKENS,
            do_sample=False,
        )
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "audio_seconds": len(samples) / 16_000,
        "tokens": answer.shape[1] - inputs.input_ids.shape[1],
        "load_seconds": round(loaded, 1),
        "generate_seconds": round(time.monotonic() - began, 1),
        "peak_memory_load": after_load,
        "peak_memory": peak_memory(),
    }


def measure_load(folder: Path) -> dict[str, Any]:
    """Load a checkpoint of any layout with phi4audio."""
    from phi4audio_cli.model.torch_backend import open_torch_backend

    drop_page_cache(folder)
    before = peak_memory()
    began = time.monotonic()
    backend = open_torch_backend(folder, device="cpu", dtype="bfloat16")
    weights = sum(p.numel() * p.element_size() for p in backend.network.parameters())
    return {
        "seconds": round(time.monotonic() - began, 1),
        "weights_bytes": weights,
        "peak_memory": peak_memory(),
        "peak_memory_before": before,
        "ratio": round((peak_memory() or 0) / weights, 3),
    }


def remove_vision(model: Any) -> None:
    """Remove the vision part as the model card's snippet does."""
    import torch

    extend = model.model.embed_tokens_extend
    extend.image_embed = torch.nn.Identity()
    extend.audio_embed.down_proj_for_vision_speech = torch.nn.Identity()
    extend.audio_embed.up_proj_for_vision_speech = torch.nn.Identity()


def stored_names(folder: Path) -> list[str]:
    """Names of a checkpoint's tensors."""
    from phi4audio_cli.checkpoint.safetensors_reader import read_tensor_index

    return list(read_tensor_index(folder))


def drop_page_cache(folder: Path) -> None:
    """Remove a folder's files from the page cache."""
    for file in folder.rglob("*"):
        if file.is_file():
            sync_file(file)
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def sync_file(file: Path) -> None:
    """Write a file's pages to the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "export": measure_export,
    "chunk": measure_chunk,
    "load": measure_load,
}

if __name__ == "__main__":
    main()

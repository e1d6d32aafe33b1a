"""The command `phi4audio strip-export`."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.errors import UsageError

if TYPE_CHECKING:
    import torch

    from phi4audio_cli.checkpoint.export_plan import ExportPlan
    from phi4audio_cli.cli.display import Display

_SIZE_UNITS = {
    "": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}
_SAMPLE_SECONDS = 10
_MEMORY_PER_WEIGHT_BYTE = 1.3
"""Memory for a comparison of answers, as a multiple of the size of the weights."""


class SpeechLora(enum.StrEnum):
    """The treatment of the speech LoRA."""

    MERGE = "merge"
    KEEP = "keep"
    DROP = "drop"


class ExportDtype(enum.StrEnum):
    """The number format of the exported weights."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


def strip_export(
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder of the export; it must be new or empty."
        ),
    ],
    source: Annotated[
        str,
        typer.Option(
            "--source",
            "-s",
            metavar="MODEL",
            help="Folder, or Hugging Face id with optional @revision.",
        ),
    ] = "microsoft/Phi-4-multimodal-instruct",
    speech_lora: Annotated[
        SpeechLora,
        typer.Option(
            "--speech-lora",
            help="Treatment of the speech LoRA. merge: add it to the weights. keep: store it "
            "separately, in peft's format. drop: leave it out; the export doesn't understand "
            "audio.",
        ),
    ] = SpeechLora.MERGE,
    adapter: Annotated[
        Path | None,
        typer.Option(
            "--adapter",
            metavar="DIR",
            help="Folder of a speech LoRA to use in place of the source's own.",
        ),
    ] = None,
    dtype: Annotated[
        ExportDtype | None,
        typer.Option(
            "--dtype",
            help="Number format of the exported weights. Default: bfloat16; with keep and drop "
            "that of the source.",
            show_default=False,
        ),
    ] = None,
    max_shard_size: Annotated[
        str,
        typer.Option(
            "--max-shard-size",
            metavar="SIZE",
            help="Largest size of a weight file, such as 5GB or 500MB.",
        ),
    ] = "5GB",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, and write nothing.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an old export once the new one is verified."),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify", help="Read the export again, and compare it to the source."
        ),
    ] = True,
    offline: Annotated[bool, typer.Option("--offline", help="Never access the network.")] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")
    ] = False,
) -> None:
    """Write a checkpoint without vision that understands audio without an adapter.

    A table of the kept and the saved parameters goes to standard output, progress to standard
    error.
    """
    shard_bytes = parse_size(max_shard_size)
    from phi4audio_cli.cli.live_display import open_display
    from phi4audio_cli.cli.run_stats import RunStats

    with open_display(RunStats(0), quiet=quiet, verbose=False) as display:
        from phi4audio_cli.checkpoint.hub import resolve_model

        folder = resolve_model(source, offline=offline, on_download=display.on_download)

        # The import of torch takes seconds: it comes after the errors of a wrong model name.
        from phi4audio_cli.checkpoint.export import ExportRequest, make_plan, run_export

        name = source if not Path(source).expanduser().is_dir() else folder.resolve().name
        dtype_name = dtype.value if dtype else None
        request = ExportRequest(folder, name, speech_lora.value, dtype_name, adapter, shard_bytes)
        plan = make_plan(request)
        drops_lora = speech_lora is SpeechLora.DROP
        if drops_lora:
            display.print_line("the speech LoRA is dropped: the export will not understand audio")
        if dry_run:
            table = plan.as_dict()
        else:
            table = run_export(
                plan,
                out,
                overwrite=overwrite,
                verify_files=verify,
                check=None if drops_lora else _equivalence_check(plan, display),
                progress=display.on_bytes,
            )
    typer.echo(_to_json(table) if as_json else format_export(table))


def parse_size(text: str) -> int:
    """Return the number of bytes of a size such as `5GB`, `500 MB` or `2GiB`.

    Raises:
        UsageError: The text is not a number with a unit, or the size is zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = _SIZE_UNITS.get(match[2].upper()) if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if size < 1:
        remedy = "write it as 5GB or 500MB"
        raise UsageError(f"invalid size {text!r}", "--max-shard-size", remedy)
    return size


def format_export(table: dict[str, Any]) -> str:
    """Return the table of a plan or an export as text."""
    parameters, size, tensors = table["parameters"], table["bytes"], table["tensors"]
    lora = table["speech_lora_parameters"]
    lines = [
        f"{table['source']} ({table['layout']} layout), speech LoRA: {table['speech_lora']}"
        + (f" ({lora:,} parameters)" if lora else ""),
        f"{'':12}{'source':>18}{'export':>18}{'saved':>18}",
        _format_row("parameters", parameters),
        _format_row("bytes", size),
        f"tensors: {tensors['kept']} kept, {tensors['merged']} of them merged, "
        f"{tensors['dropped']} dropped ({table['dropped_bytes']:,} bytes of vision)",
        f"vision that plain transformers still builds: {table['stub_parameters']:,} parameters",
        f"files: {', '.join(table['files'])}",
    ]
    if "folder" in table:
        lines.append(f"written to {table['folder']}, {_format_verification(table.get('verified'))}")
        stages = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in table["seconds"].items())
        peak = table["peak_memory"]
        lines.append(stages + (f"; peak memory {peak / 1e9:.2f} GB" if peak else ""))
    return "\n".join(lines)


def _format_row(label: str, values: dict[str, int]) -> str:
    return f"{label:12}" + "".join(f"{values[key]:>18,}" for key in ("before", "after", "saved"))


def _format_verification(verification: dict[str, Any] | None) -> str:
    if verification is None:
        return "not verified"
    text = f"verified: {verification['tensors']} tensors compared"
    if "answers" in verification:
        answers = verification["answers"]
        text += f", {answers['same']} of {answers['tokens']} greedy tokens the same"
    elif "answers_skipped" in verification:
        text += f"; answers not compared: {verification['answers_skipped']}"
    return text


def _to_json(table: dict[str, Any]) -> str:
    import json

    return json.dumps(table, indent=2, ensure_ascii=False)


def _equivalence_check(plan: ExportPlan, display: Display) -> Callable[[Path], dict[str, Any]]:
    """Return a check that source and export give the same answer for a sample recording."""

    def check(folder: Path) -> dict[str, Any]:
        import dataclasses

        from phi4audio_cli.checkpoint.equivalence import build_inputs, compare_answers

        chosen = _comparison_device(plan)
        if chosen is None:
            return {"answers_skipped": "not enough memory for the model"}
        sample = _load_sample()
        if sample is None:
            return {"answers_skipped": "no sample recording is installed"}
        device, dtype = chosen
        display.on_status(f"comparing answers of source and export ({device}, {dtype})")
        audio_token = plan.checkpoint.config["audio_config"].get("audio_token_id", 200011)
        inputs = build_inputs(folder, sample, audio_token)
        comparison = compare_answers(plan.checkpoint, folder, inputs, device, dtype)
        return {"answers": dataclasses.asdict(comparison)}

    return check


def _comparison_device(plan: ExportPlan) -> tuple[str, torch.dtype] | None:
    """Return a device with memory for one model and the most exact dtype; None: none has it."""
    import psutil
    import torch

    stored = plan.checkpoint.output_dtype("model.norm.weight")
    for dtype in (torch.float32, stored):
        needed = _MEMORY_PER_WEIGHT_BYTE * plan.checkpoint.audio_parameters * dtype.itemsize
        if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > needed:
            return "cuda", dtype
        if psutil.virtual_memory().available > needed:
            return "cpu", dtype
    return None


def _load_sample() -> Any:
    """Return the first seconds of a bundled recording: mono, 16 kHz; None: none is installed."""
    import importlib.resources

    import soundfile
    import soxr

    folder = Path(str(importlib.resources.files("phi4audio_cli"))) / "demo" / "samples"
    for file in sorted(folder.glob("*.flac")) + sorted(folder.glob("*.wav")):
        rate = soundfile.info(file).samplerate
        samples, _ = soundfile.read(file, frames=_SAMPLE_SECONDS * rate, dtype="float32")
        mono = samples.mean(1) if samples.ndim > 1 else samples
        return mono if rate == 16_000 else soxr.resample(mono, rate, 16_000)
    return None

"""The command `phi4audio strip-export`."""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phi4audio_cli.cli.console import print_message
from phi4audio_cli.errors import UsageError

if TYPE_CHECKING:
    import torch

    from phi4audio_cli.checkpoint.export import StageProgress
    from phi4audio_cli.checkpoint.export_plan import ExportPlan
    from phi4audio_cli.checkpoint.hub import Download

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
"""Memory a comparison of answers needs, as a multiple of the weights."""


class SpeechLora(enum.StrEnum):
    """What becomes of the speech LoRA."""

    MERGE = "merge"
    KEEP = "keep"
    DROP = "drop"


class ExportDtype(enum.StrEnum):
    """Of the exported weights."""

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
            help="A folder, or a Hugging Face id with optional @revision.",
        ),
    ] = "microsoft/Phi-4-multimodal-instruct",
    speech_lora: Annotated[
        SpeechLora,
        typer.Option(
            "--speech-lora",
            help="merge: into the weights. keep: beside them, in peft's format. "
            "drop: without it, the model won't understand audio.",
        ),
    ] = SpeechLora.MERGE,
    adapter: Annotated[
        Path | None,
        typer.Option("--adapter", metavar="DIR", help="Another speech LoRA than the source's own."),
    ] = None,
    dtype: Annotated[
        ExportDtype | None,
        typer.Option(
            "--dtype",
            help="Of the weights. Default: bfloat16; with keep and drop as they are stored.",
            show_default=False,
        ),
    ] = None,
    max_shard_size: Annotated[
        str, typer.Option("--max-shard-size", metavar="SIZE", help="Of a file, as 5GB or 500MB.")
    ] = "5GB",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and write nothing.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an old export once the new one is verified."),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify/--no-verify", help="Read everything again and compare it."),
    ] = True,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")
    ] = False,
) -> None:
    """Write a checkpoint without vision that hears by itself.

    The table of what was kept and saved goes to standard output, progress to standard error.
    """
    shard_bytes = parse_size(max_shard_size)
    with _open_progress(quiet=quiet) as (progress, download):
        from phi4audio_cli.checkpoint.hub import resolve_model

        folder = resolve_model(source, offline=offline, on_download=download)

        from phi4audio_cli.checkpoint.export import ExportRequest, make_plan, run_export

        name = source if not Path(source).expanduser().is_dir() else folder.resolve().name
        request = ExportRequest(
            folder,
            name,
            speech_lora.value,
            dtype.value if dtype else None,
            adapter,
            shard_bytes,
        )
        plan = make_plan(request)
        if speech_lora is SpeechLora.DROP:
            print_message("the speech LoRA is dropped: the export will not understand audio")
        if dry_run:
            table = plan.as_dict()
        else:
            table = run_export(
                plan,
                out,
                overwrite=overwrite,
                verify_files=verify,
                check=None
                if speech_lora is SpeechLora.DROP
                else _equivalence_check(plan, quiet=quiet),
                progress=progress,
            )
    typer.echo(_to_json(table) if as_json else format_export(table))


def parse_size(text: str) -> int:
    """Bytes of a size such as `5GB`, `500 MB` or `2GiB`.

    Raises:
        UsageError: It isn't a size, or not above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = _SIZE_UNITS.get(match[2].upper()) if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if size < 1:
        raise UsageError(f"{text!r} is no size", "--max-shard-size", "write it as 5GB or 500MB")
    return size


def format_export(table: dict[str, Any]) -> str:
    """The table of a plan or an export, for people."""
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


def _equivalence_check(plan: ExportPlan, *, quiet: bool) -> Callable[[Path], dict[str, Any]]:
    """A check that source and export answer alike on a sample recording."""

    def check(folder: Path) -> dict[str, Any]:
        import dataclasses

        from phi4audio_cli.checkpoint.equivalence import build_inputs, compare_answers

        place = _comparison_device(plan)
        if place is None:
            return {"answers_skipped": "not enough memory for the model"}
        sample = _load_sample()
        if sample is None:
            return {"answers_skipped": "no sample recording is installed"}
        if not quiet:
            print_message(f"comparing answers of source and export ({place[0]}, {place[1]})")
        audio_token = plan.checkpoint.config["audio_config"].get("audio_token_id", 200011)
        inputs = build_inputs(folder, sample, audio_token)
        found = compare_answers(plan.checkpoint, folder, inputs, *place)
        return {"answers": dataclasses.asdict(found)}

    return check


def _comparison_device(plan: ExportPlan) -> tuple[str, torch.dtype] | None:
    """Where one model after the other fits and in which dtype, the finest first."""
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
    """The first seconds of a recording that ships with the project: mono, 16 kHz."""
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


@contextmanager
def _open_progress(
    *, quiet: bool
) -> Iterator[tuple[StageProgress, Callable[[Download, int], None]]]:
    """Progress of bytes with the time left: bars in a terminal, lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, quiet=quiet)
    if quiet:
        yield (lambda stage, done, total: None), (lambda download, done: None)
    elif console.is_terminal and not console.is_dumb_terminal:
        with _ProgressBars(console) as bars:
            yield bars.progress, bars.download
    else:
        lines = _ProgressLines()
        yield lines.progress, lines.download


class _ProgressBars:
    """A bar for each stage."""

    def __init__(self, console: Any) -> None:
        from rich import progress

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=console,
        )
        self._task_ids: dict[str, Any] = {}

    def __enter__(self) -> _ProgressBars:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Moves the bar of a stage."""
        if stage not in self._task_ids:
            self._task_ids[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._task_ids[stage], completed=done)

    def download(self, download: Download, done: int) -> None:
        """Announces a download and moves its bar."""
        if done == 0:
            print_message(_format_download(download))
        self.progress("downloading", done, download.total_bytes)


class _ProgressLines:
    """A line for every tenth."""

    def __init__(self) -> None:
        self._next_tenth: dict[str, int] = {}
        self._started: dict[str, float] = {}

    def progress(self, stage: str, done: int, total: int) -> None:
        """Says how far a stage is, with the time left."""
        now = time.monotonic()
        began = self._started.setdefault(stage, now)
        tenth = 10 * done // max(total, 1)
        if tenth < self._next_tenth.setdefault(stage, 1):
            return
        self._next_tenth[stage] = tenth + 1
        left = (now - began) * (total - done) / max(done, 1)
        print_message(f"{stage}: {done / 1e9:.2f} of {total / 1e9:.2f} GB, {left:.0f} s left")

    def download(self, download: Download, done: int) -> None:
        """Announces a download and says how far it is."""
        if done == 0:
            print_message(_format_download(download))
        self.progress("downloading", done, download.total_bytes)


def _format_download(download: Download) -> str:
    return (
        f"downloading {download.repo} ({download.total_bytes / 1e9:.2f} GB) into {download.folder}"
    )

"""The command `phi4audio bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phi4audio_cli.cli import options
from phi4audio_cli.cli.option_groups import BenchOptions, expand_options

if TYPE_CHECKING:
    from phi4audio_cli.doctor.benchmark import BenchmarkResult

Minutes = Annotated[
    float,
    typer.Option(
        "--minutes", metavar="MINUTES", min=0.1, max=600, help="Length of the audio to transcribe."
    ),
]


@expand_options
def bench(
    bench_options: BenchOptions, minutes: Minutes = 5.0, as_json: options.AsJson = False
) -> None:
    """Measure the speed and the memory of a model on this machine.

    It transcribes bundled speech repeatedly. Compare only figures of an otherwise idle machine.
    """
    from phi4audio_cli.backend_loader import find_model

    settings = bench_options.load_settings()
    find_model(settings)  # before the import of torch, and outside of the load time
    from phi4audio_cli.doctor.benchmark import run_benchmark

    found = run_benchmark(settings, minutes)
    typer.echo(_to_json(found) if as_json else _to_lines(found))


def _to_json(result: BenchmarkResult) -> str:
    import json
    from dataclasses import asdict

    from phi4audio_cli import __version__

    return json.dumps({"version": __version__, **asdict(result)}, indent=2, ensure_ascii=False)


def _to_lines(result: BenchmarkResult) -> str:
    from phi4audio_cli.cli.console import escape_control
    from phi4audio_cli.formatting import format_duration

    memory = "unknown" if result.peak_memory is None else f"{result.peak_memory / 1e9:.2f} GB"
    rows = {
        "model": escape_control(result.model),
        "device": f"{result.device}, {result.dtype}{_format_quantization(result.quantize)}",
        "parameters": f"{result.parameters:,}",
        "weights": f"{result.weight_bytes / 1e9:.2f} GB, loaded in {result.load_seconds:.1f} s",
        "peak memory": memory,
        "tokens/s": f"{result.tokens_per_second:.1f}, one answer alone, warm",
        "RTFx": f"{result.rtfx:.1f}, {format_duration(result.audio_seconds)} of audio, "
        f"at most {result.batch_size} chunks at once",
    }
    return "\n".join(f"{name:<12}  {figure}" for name, figure in rows.items())


def _format_quantization(kind: str) -> str:
    return "" if kind == "none" else f", decoder in {kind}"

"""Peak memory of a batch of requests: the prediction of model/memory_estimate.py, and the real one.

    python -m benchmarks.batch_memory [--models demo mid full-1] [--rows 1 4 16] [--seconds 10 40]

Every line is a process of its own. It loads the model, then answers a number of chunks of noise at
once, with answers of a forced length, and reads its peak memory: resident on the CPU, allocated by
torch on a GPU. `full-N` is a random network of the published widths with N blocks and N layers.
Columns are in MB; `total` includes Python, libraries and weights as they are before the first
chunk, `requests` does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.resident_memory import resident

if TYPE_CHECKING:
    from phi4audio_cli.model.torch_backend import TorchBackend

TOKENS = 32


def main() -> None:
    """Measure all cases, or one in this process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["demo", "mid", "full-1"])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--seconds", nargs="+", type=float, default=[10.0, 40.0])
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--words", action="store_true", help="find word times, too")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options)))
        return
    print(
        f"{'model':8} {'rows':>4} {'s':>4} {'predicted':>9} {'real':>7} {'error':>7}"
        f"   {'predicted':>9} {'real':>7} {'error':>7}"
    )
    print(f"{'':18} {'total':>25}   {'requests':>25}")
    for model in options.models:
        for rows in options.rows:
            for seconds in options.seconds:
                print_line(model, rows, seconds, run_in_subprocess(options, model, rows, seconds))


def run_in_subprocess(
    options: argparse.Namespace, model: str, rows: int, seconds: float
) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [
        *(sys.executable, "-m", "benchmarks.batch_memory", "--here"),
        *("--models", model, "--rows", str(rows)),
    ]
    command += ["--seconds", str(seconds), "--tokens", str(options.tokens)]
    command += ["--device", options.device, "--dtype", options.dtype]
    command += ["--words"] if options.words else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_line(model: str, rows: int, seconds: float, found: dict[str, float]) -> None:
    """Print one line."""
    columns = []
    for predicted, real in (
        (found["before"] + found["need"], found["peak"]),
        (found["need"], found["peak"] - found["before"]),
    ):
        columns.append(f"{predicted / 1e6:9.0f} {real / 1e6:7.0f} {predicted / real - 1:+7.1%}")
    print(f"{model:8} {rows:4} {seconds:4.0f} {'   '.join(columns)}", flush=True)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Answer the requests of one case in this process."""
    import numpy as np
    import torch

    from phi4audio_cli.model.batch_limit import max_waiting
    from phi4audio_cli.model.inputs import PREFETCHED_REQUESTS
    from phi4audio_cli.model.memory_estimate import BatchMemory
    from phi4audio_cli.types import WIDE_BAND, Chunk, Request

    [model], [rows], [seconds] = options.models, options.rows, options.seconds
    backend = open_backend(model, options.device, options.dtype, rows)
    backend.decoder.stop_tokens = frozenset()
    on_gpu = options.device.startswith("cuda")
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(round(seconds * WIDE_BAND)).astype(np.float32) / 10
    instruction = "Transcribe the audio clip into text."
    in_memory = rows + max_waiting(rows) + PREFETCHED_REQUESTS
    requests = [
        Request(
            index,
            Chunk(0, noise.copy(), WIDE_BAND, 0),
            instruction,
            options.tokens,
            align=options.words,
        )
        for index in range(in_memory)
    ]
    sample_bytes = sum(request.chunk.samples.nbytes for request in requests if request.chunk)
    before = reset_peak(on_gpu) - sample_bytes
    for _ in backend.generate(requests):
        pass
    peak = torch.cuda.max_memory_allocated() if on_gpu else resident("VmHWM")
    itemsize = getattr(torch, options.dtype).itemsize
    need = BatchMemory(backend.network.config, itemsize, on_gpu).peak(
        rows, seconds, options.tokens, words=options.words
    )
    return {"before": before, "need": need, "peak": peak}


def open_backend(model: str, device: str, dtype: str, rows: int) -> TorchBackend:
    """Load a checkpoint, or make a random network of full width."""
    from benchmarks.random_models import benchmark_checkpoint
    from phi4audio_cli.checkpoint.hub import resolve_model
    from phi4audio_cli.model.inputs import PromptBuilder
    from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend

    if not model.startswith("full-"):
        return open_torch_backend(
            Path(benchmark_checkpoint(model)), device=device, dtype=dtype, batch_size=rows
        )
    builder = PromptBuilder.from_folder(resolve_model("demo", offline=True))
    return TorchBackend(
        full_width_network(int(model.removeprefix("full-")), device, dtype),
        builder,
        frozenset(),
        rows,
    )


def full_width_network(depth: int, device: str, dtype: str) -> Any:
    """Make a network of the published widths with few layers, all weights equal."""
    import torch

    from phi4audio_cli.model.loading import build, fill
    from phi4audio_cli.model.placement import Placement
    from tools.make_checkpoint.checkpoint_configs import native_config
    from tools.make_checkpoint.network_sizes import SIZES

    config = native_config(SIZES["full"])
    config["num_hidden_layers"] = depth
    config["audio_config"]["num_blocks"] = depth
    network = build(config)
    shapes = {
        name: one.shape for name, one in network.state_dict().items() if name != "lm_head.weight"
    }
    kind = getattr(torch, dtype)
    filled = ((name, torch.full(shape, 1e-3, dtype=kind)) for name, shape in shapes.items())
    fill(network, filled, kind, Placement(torch.device(device), depth, depth))
    return network


def reset_peak(on_gpu: bool) -> int:
    """Reset the peak; return the memory in use now."""
    import torch

    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return resident("VmRSS")


if __name__ == "__main__":
    main()

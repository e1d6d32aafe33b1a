"""The checkpoints of the benchmarks: the demo, random weights of two sizes, or a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys

from benchmarks import ROOT

BUILD_FOLDER = ROOT / "build" / "bench"
"""Where random checkpoints are kept between runs."""


def benchmark_checkpoint(name: str) -> str:
    """Return the folder of a checkpoint; a random one is made on the first call.

    Args:
        name: `demo`, `mid`, `full`, or a folder.
    """
    if name == "demo":
        from phi4audio_cli.checkpoint.hub import resolve_model

        return str(resolve_model("demo", offline=True))
    if name not in ("mid", "full"):
        return name
    folder = BUILD_FOLDER / name
    if not folder.is_dir():
        from tools.make_checkpoint.network_sizes import SIZES
        from tools.make_checkpoint.random_checkpoint import make

        native = BUILD_FOLDER / f"{name}-native"
        make(native, "native", SIZES[name])
        command = [sys.executable, "-m", "phi4audio_cli", "strip-export", "--no-verify"]
        subprocess.run([*command, "--source", native, "--out", folder], check=True)
        shutil.rmtree(native)
    return str(folder)

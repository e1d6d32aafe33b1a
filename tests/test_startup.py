"""Start-up: imports and time of `--help` and `--version`."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from .factories import write_tone

HEAVY = ("torch", "transformers", "peft", "av", "soxr", "accelerate", "huggingface_hub", "numpy",
         "soundfile", "safetensors", "fsspec", "phi4audio_cli.settings")  # fmt: skip

SPY = f"""
import sys
from phi4audio_cli.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as request:
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    print("LOADED", *heavy)
    raise
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["transcribe", "--help"],
        ["eval", "--help"],
        ["translate", "--help"],
        ["summarize", "--help"],
        ["ask", "--help"],
        [],
    ],
    ids=" ".join,
)
def test_no_heavy_package_is_imported(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPY, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"
    assert done.stderr == ""


def test_a_missing_model_is_reported_before_torch_is_imported(tmp_path: Path) -> None:
    write_tone(tmp_path / "talk.wav")
    arguments = ["transcribe", "talk.wav", "--offline", "--quiet", "--model", "nobody/nothing"]
    done = subprocess.run(
        [sys.executable, "-c", SPY, *arguments],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("phi4audio: nobody/nothing: isn't on this machine")
    loaded = done.stdout.split()
    assert loaded[0] == "LOADED"
    assert not {"torch", "transformers"} & set(loaded)


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_answer_takes_less_than_0_3_seconds(argument: str) -> None:
    # Processor time, the best of several runs, because other programs may use the machine; the
    # limit grows with that of a bare Python, which takes 20 ms on a free core.
    bare = min(processor_seconds("-c", "pass") for _ in range(5))
    best = min(processor_seconds("-m", "phi4audio_cli", argument) for _ in range(10))
    assert best < 0.3 * max(1.0, bare / 0.02)


def processor_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_names_the_commands(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "phi4audio_cli", *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "transcribe" in done.stdout

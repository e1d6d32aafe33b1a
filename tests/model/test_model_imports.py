"""Transcribing loads neither transformers nor the packages that only other commands need."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.doctor.audio_checks import bundled_sample
from phi4audio_cli.model.torch_backend import open_torch_backend
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Chunk

backend = open_torch_backend(resolve_model("demo", offline=True), device="cpu", dtype="float32")
samples, rate = bundled_sample("short")
requests = Transcribe(language="English").requests(0, Chunk(0, samples, rate, 0))
print([answer.text for answer in backend.generate(requests)])
print(sorted({"transformers", "accelerate", "peft", "torchao", "torch._dynamo"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_transcribing_imports_neither_transformers_nor_accelerate():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    text, loaded = done.stdout.splitlines()
    assert "three five eight" in text
    assert loaded == "[]"

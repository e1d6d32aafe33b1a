"""The files that the command writes have the same bytes in any batch and order, in every dtype."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.cli_runner import outputs, phi4audio

SAMPLES = Path(__file__).resolve().parents[1] / "phi4audio_cli" / "demo" / "samples"
SECONDS = (0.6, 5.2, 1.1, 3.3, 2.4, 7.9, 1.7, 4.1, 0.9, 2.9, 6.3, 1.3)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Cut a sample into recordings of many lengths; one is longer than the encoder's window."""
    folder = tmp_path_factory.mktemp("recordings")
    speech, rate = soundfile.read(SAMPLES / "interview.flac", dtype="float32", always_2d=True)
    speech = speech.mean(axis=1)
    rng = random.Random(3)
    found = []
    start = 0
    for index, seconds in enumerate(SECONDS):
        stop = start + int(seconds * rate) + rng.randrange(rate // 50)
        found.append(folder / f"{index:02}.wav")
        soundfile.write(found[-1], speech[start:stop], rate)
        start = stop
    found.append(folder / "long.wav")
    soundfile.write(found[-1], np.concatenate([speech, speech])[: 43 * rate], rate)
    return found


def written(recordings: list[Path], folder: Path, *options: str) -> dict[str, str]:
    common = ("--model", "demo", "--device", "cpu", "--quiet", "--language", "English")
    code = phi4audio("transcribe", *recordings, "-o", folder, *common, *options)
    assert code == 0
    return outputs(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--dtype", "float32"),
        ("--dtype", "bfloat16"),
        ("--dtype", "bfloat16", "--quantize", "int8"),
        ("--dtype", "bfloat16", "--quantize", "int4"),
    ],
    ids=lambda options: " ".join(options[1::2]),
)
def test_batches_and_orders_change_no_byte(recordings, tmp_path: Path, options):
    alone = written(recordings, tmp_path / "1", *options, "--batch-size", "1")
    assert len(alone) == 3 * len(recordings)
    shuffled = random.Random(8).sample(recordings, len(recordings))
    for size, order, readers in (("8", recordings[::-1], "1"), ("64", shuffled, "2")):
        chosen = (*options, "--batch-size", size, "--readers", readers)
        assert written(order, tmp_path / size, *chosen) == alone

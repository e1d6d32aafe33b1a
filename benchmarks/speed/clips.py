"""The clips of the benchmark, of 3 to 40 s, and the number of tokens of each answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks import SAMPLES
from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.types import WIDE_BAND, Samples

MIN_SECONDS, MAX_SECONDS = 3.0, 40.0
TOKENS_PER_SECOND = 3.0
TOKENS_SPREAD = 0.4
"""Standard deviation of the logarithm of the tokens per second, as for fast and slow speakers."""


@dataclass(frozen=True, slots=True)
class TimedClip:
    """One clip, and the length of its answer in tokens; None: as the model ends it."""

    path: Path
    seconds: float
    tokens: int | None


def make_clips(folder: Path, count: int, seed: int, *, forced: bool) -> list[TimedClip]:
    """Cut clips of mixed lengths from the bundled speech and write them as FLAC.

    Args:
        folder: Of the clips.
        count: Number of clips.
        seed: Of lengths and positions.
        forced: Whether the lengths of the answers are drawn, for checkpoints with random weights.
    """
    rng = np.random.default_rng(seed)
    speech = _bundled_speech()
    work = []
    for index in range(count):
        seconds = float(rng.uniform(MIN_SECONDS, MAX_SECONDS))
        length = int(seconds * WIDE_BAND)
        start = int(rng.integers(len(speech) - length))
        path = folder / f"clip-{index:04}.flac"
        soundfile.write(path, speech[start : start + length], WIDE_BAND)
        rate = TOKENS_PER_SECOND * float(rng.lognormal(0.0, TOKENS_SPREAD))
        work.append(TimedClip(path, seconds, max(1, round(seconds * rate)) if forced else None))
    return work


def make_long_clip(folder: Path, minutes: float) -> list[TimedClip]:
    """Write one long recording, as FLAC, with answers of typical length."""
    speech, length = _bundled_speech(), int(60 * minutes * WIDE_BAND)
    path = folder / "long.flac"
    soundfile.write(path, np.resize(speech, length), WIDE_BAND)
    return [TimedClip(path, 60 * minutes, round(60 * minutes * TOKENS_PER_SECOND))]


def save_clips(work: Sequence[TimedClip], path: Path) -> None:
    """Write the list of clips for the process of one variant."""
    entries = [asdict(each) | {"path": str(each.path)} for each in work]
    path.write_text(json.dumps(entries), encoding="utf-8")


def load_clips(path: Path) -> list[TimedClip]:
    """Read the list of `save_clips`."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [TimedClip(Path(each["path"]), each["seconds"], each["tokens"]) for each in entries]


def read_clip(path: Path) -> Samples:
    """Decode a clip whole."""
    with open_audio(path) as recording:
        return np.concatenate(list(recording.blocks()))


def _bundled_speech() -> Samples:
    """Return the bundled samples joined and repeated."""
    parts = [read_clip(path) for path in sorted(SAMPLES.glob("*.flac"))]
    wide = [part for part in parts if len(part)]
    joined = np.concatenate(wide)
    while len(joined) < 10 * MAX_SECONDS * WIDE_BAND:
        joined = np.concatenate([joined, joined])
    return joined

"""Spoken digits, real (Free Spoken Digit Dataset) and synthetic (espeak-ng), as mel power."""

from __future__ import annotations

import io
import pickle
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.spoken_digits.digit_tasks import DIGITS
from training.spoken_digits.mel_features import SAMPLE_RATE, Floats, mel_power

SPEEDS = (0.83, 0.91, 1.0, 1.1, 1.21)
LEAD_FRAMES = 2  # frames before a word that contain its first samples
TRIM_SECONDS = 0.01  # of silence around a synthesized word
_PHONE_RATE = 8_000
_SPLITS = {"train": range(10, 50), "dev": range(8, 10), "test": range(5, 8)}


class Voice(NamedTuple):
    """An espeak-ng voice: its name, pitch (0 to 99) and speed (words a minute)."""

    name: str
    pitch: int
    speed: int


_VOICE_NAMES = (
    "en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan",
    "en-gb-x-gbcwmd", "en-us-nyc", "en-us+m1", "en-us+m2", "en-us+m3", "en-us+m7", "en-us+f1",
    "en-us+f3", "en-us+f4", "en-us+f5", "en-gb+m1", "en-gb+m4", "en-gb+m5", "en-gb+m6",
    "en-gb+f1", "en-gb+f2", "en-gb+f4", "en-gb+f5", "en-gb-scotland+m2", "en-gb-scotland+f3",
    "en-029+m7", "en-029+f2", "en-gb-x-rp+f1", "en-gb-x-rp+m5", "en-us-nyc+f4", "en-us-nyc+m4",
)  # fmt: skip
TRAIN_VOICES = tuple(
    Voice(name, pitch, speed)
    for index, name in enumerate(_VOICE_NAMES)
    for pitch, speed in ((50, 150), (30 + index % 7 * 6, 120 + index % 5 * 15))
)
TEST_VOICES = (Voice("en-us+f2", 55, 140), Voice("en-gb+m3", 45, 160))


@dataclass
class Recording:
    """One digit spoken once, trimmed: samples between -1 and 1 at its own rate."""

    voice: str
    digit: int
    samples: Floats
    rate: int


@dataclass
class Bank:
    """Mel power of every recording at several speeds, wide band and telephone band.

    `takes[voice, digit, narrow, speed]` lists arrays of shape (frames, 80); the word starts
    `LEAD_FRAMES` after the first frame and lasts `len(take) - 4` frames.
    """

    takes: dict[tuple[str, int, bool, int], list[Floats]] = field(
        default_factory=lambda: defaultdict(list)
    )
    real: list[str] = field(default_factory=list)
    synthetic: list[str] = field(default_factory=list)


def read_fsdd(folder: Path, split: str, limit: int | None = None) -> list[Recording]:
    """Read the real recordings of a split ("train", "dev" or "test").

    Args:
        folder: the data set's folder, which holds `recordings/`.
        split: part of the data; parts share speakers, but not recordings.
        limit: most takes of each digit and speaker.
    """
    import soundfile

    recordings = []
    for path in sorted((folder / "recordings").glob("*.wav")):
        digit, speaker, index = path.stem.split("_")
        if int(index) in list(_SPLITS[split])[:limit]:
            samples, rate = soundfile.read(path, dtype="float32")
            recordings.append(Recording(f"fsdd-{speaker}", int(digit), samples, rate))
    return recordings


def speak(voice: Voice, text: str) -> tuple[Floats, int]:
    """Synthesize a text with espeak-ng; return the trimmed samples and their rate."""
    import soundfile

    command = ["espeak-ng", "-v", voice.name, "-p", str(voice.pitch), "-s", str(voice.speed)]
    wav = subprocess.run([*command, "--stdout", text], check=True, capture_output=True).stdout
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    return _trim(samples, rate), int(rate)


def speak_digits(voices: Iterable[Voice]) -> list[Recording]:
    """Synthesize every digit once with every voice."""
    return [
        Recording(f"espeak-{voice.name}", digit, *speak(voice, word))
        for voice in voices
        for digit, word in enumerate(DIGITS["English"])
    ]


def _trim(samples: Floats, rate: int) -> Floats:
    """Cut silence from both ends, except `TRIM_SECONDS`."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    margin = round(TRIM_SECONDS * rate)
    padded = np.pad(samples, margin)
    return padded[loud[0] : loud[-1] + 1 + 2 * margin]


def resample(samples: Floats, rate: float, target: float) -> Floats:
    """Resample mono audio; equal rates return it unchanged."""
    import soxr

    return samples if rate == target else soxr.resample(samples, rate, target)


def _takes(recording: Recording) -> list[tuple[bool, int, Floats]]:
    """Compute all variants of a recording: (narrow, speed index, mel power)."""
    variants = []
    for narrow, target in ((False, SAMPLE_RATE), (True, _PHONE_RATE)):
        for index, speed in enumerate(SPEEDS):
            samples = resample(recording.samples, recording.rate * speed, target)
            hop = target // 100
            padded = np.pad(samples, (LEAD_FRAMES * hop, 4 * hop))
            variants.append((narrow, index, mel_power(padded, narrow=narrow)))
    return variants


def build_bank(recordings: list[Recording], workers: int = 2) -> Bank:
    """Compute the bank of many recordings, in several processes."""
    bank = Bank()
    with Pool(workers) as pool:
        for recording, variants in zip(
            recordings, pool.imap(_takes, recordings, chunksize=32), strict=True
        ):
            for narrow, speed, power in variants:
                bank.takes[recording.voice, recording.digit, narrow, speed].append(power)
    voices = sorted({recording.voice for recording in recordings})
    bank.real = [voice for voice in voices if voice.startswith("fsdd-")]
    bank.synthetic = [voice for voice in voices if voice.startswith("espeak-")]
    bank.takes = dict(bank.takes)
    return bank


def load_bank(fsdd: Path, work: Path, limit: int | None = None) -> Bank:
    """Return the training bank, from its file in `work` if that exists."""
    path = work / f"bank-{limit or 'all'}.pickle"
    if path.exists():
        kept: Bank = pickle.loads(path.read_bytes())
        return kept
    voices = TRAIN_VOICES[: limit and 2 * limit]
    bank = build_bank(read_fsdd(fsdd, "train", limit) + speak_digits(voices))
    path.write_bytes(pickle.dumps(bank))
    return bank

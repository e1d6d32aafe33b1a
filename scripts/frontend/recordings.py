"""Recordings to measure with: the bundled speech, again and again, in several formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from phi4audio_cli.checks.listening import sample
from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples

CD = 44_100
"""Sample rate of music, Hz."""


def speech(seconds: float) -> Samples:
    """Return speech with pauses, mono, 16 kHz."""
    spoken, rate = sample("interview")
    assert rate == WIDE_BAND
    return np.resize(spoken, int(seconds * rate))


def make(folder: Path, seconds: float) -> dict[str, Path]:
    """Write a recording in each format; return the files by what they are."""
    mono = speech(seconds)
    wide = soxr.resample(mono, WIDE_BAND, CD)
    stereo = np.stack([wide, 0.7 * wide], axis=1)
    phone = soxr.resample(mono, WIDE_BAND, NARROW_BAND)
    kinds = {
        "16k.wav": (mono, WIDE_BAND),
        "16k.flac": (mono, WIDE_BAND),
        "8k.wav": (phone, NARROW_BAND),
        "44k-stereo.flac": (stereo, CD),
        "44k-stereo.mp3": (stereo, CD),
    }
    for name, (samples, rate) in kinds.items():
        soundfile.write(folder / name, samples, rate)
    return {name: folder / name for name in kinds}

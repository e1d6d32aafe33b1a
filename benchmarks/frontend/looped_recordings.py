"""Recordings of any length from bundled speech, in several formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from phi4audio_cli.doctor.audio_checks import bundled_sample
from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples

MUSIC_RATE = 44_100
"""Sample rate of music, Hz."""


def looped_speech(seconds: float) -> Samples:
    """Return speech with pauses, mono, 16 kHz."""
    spoken, rate = bundled_sample("interview")
    assert rate == WIDE_BAND
    return np.resize(spoken, int(seconds * rate))


def write_recordings(folder: Path, seconds: float) -> dict[str, Path]:
    """Write a recording in each format; return the files by what they are."""
    mono = looped_speech(seconds)
    wide = soxr.resample(mono, WIDE_BAND, MUSIC_RATE)
    stereo = np.stack([wide, 0.7 * wide], axis=1)
    phone = soxr.resample(mono, WIDE_BAND, NARROW_BAND)
    kinds = {
        "16k.wav": (mono, WIDE_BAND),
        "16k.flac": (mono, WIDE_BAND),
        "8k.wav": (phone, NARROW_BAND),
        "44k-stereo.flac": (stereo, MUSIC_RATE),
        "44k-stereo.mp3": (stereo, MUSIC_RATE),
    }
    for name, (samples, rate) in kinds.items():
        soundfile.write(folder / name, samples, rate)
    return {name: folder / name for name in kinds}

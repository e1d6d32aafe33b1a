"""Recordings with something wrong with them, or that only look as if: one row of a table each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile

import phi4audio_cli
from tests.audio.audio_files import encode
from tests.audio.test_damage import id3, wav_with

SAMPLES = Path(phi4audio_cli.__file__).parent / "demo" / "samples"

Array = npt.NDArray[np.float32]
Outcome = Literal["done", "warnings", "failed", "refused"]
"""A status of the report; `refused`: reported before the run."""

TEXT = (SAMPLES / "short.ref.txt").read_text(encoding="utf-8").strip()
"""The text of the recording that most rows are made from."""


@dataclass(frozen=True)
class Fault:
    """An injected fault and the expected outcome."""

    injected: str
    name: str
    make: Callable[[Path], object]
    outcome: Outcome
    reason: str = ""
    """Part of the reason in the report, or of the line on standard error."""
    text: str | None = None
    """Its whole transcript; None: any text."""


def voice_samples() -> Array:
    """Return six spoken digits, 16 kHz, some seconds."""
    wave, rate = soundfile.read(SAMPLES / "short.flac", dtype="float32")
    assert rate == 16_000
    return np.asarray(wave)


def wav(change: Callable[[Array], Array], subtype: str = "FLOAT", rate: int = 16_000):
    """Make a WAV of the voice, changed."""
    return lambda path: soundfile.write(
        path, change(voice_samples()), rate, subtype=subtype, format="WAV"
    )


def unchanged(wave: Array) -> Array:
    """Change nothing."""
    return wave


def with_nan(wave: Array) -> Array:
    """Insert values that are not numbers."""
    wave = wave.copy()
    wave[5000:5100], wave[6000], wave[7000] = np.nan, np.inf, -np.inf
    return wave


def at_another_rate(wave: Array) -> Array:
    """Resample to 22,050 Hz, roughly."""
    times = np.arange(0, len(wave) - 1, 16_000 / 22_050)
    return np.interp(times, np.arange(len(wave)), wave).astype("f4")


def write_truncated(path: Path) -> None:
    """Write the first 60 % of a longer recording in the format of the file's name."""
    wave, rate = soundfile.read(SAMPLES / "medium.flac", dtype="float32")
    if path.suffix == ".mp4":
        encode(path, "aac", wave[None], rate, "mono", {"movflags": "faststart"})
    else:
        soundfile.write(path, wave, rate)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def write_mp4_without_index(path: Path) -> None:
    """Write an MP4 whose index, at its end, is lost."""
    encode(path, "aac", voice_samples()[None], 16_000, "mono")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_mp3_with_cover(path: Path) -> None:
    """Write an MP3 with a title and a cover before it."""
    soundfile.write(path, voice_samples(), 16_000)
    path.write_bytes(id3() + path.read_bytes())


def write_unreadable(path: Path) -> None:
    """Write a recording without read permission."""
    wav(unchanged)(path)
    path.chmod(0)


FAULTS = [
    Fault("an empty file", "empty.wav", Path.touch, "failed", "the file is empty"),
    Fault("a text named .wav", "text.wav", lambda path: path.write_text("Dear Sir\n" * 99),
          "failed", "no audio that can be decoded"),
    Fault("a truncated MP3", "cut.mp3", write_truncated, "warnings", "ends after"),
    Fault("a truncated FLAC", "cut.flac", write_truncated, "warnings", " s could be decoded"),
    Fault("a truncated MP4", "cut.mp4", write_truncated, "warnings", "ends after"),
    Fault("an MP4 without its index", "index.mp4", write_mp4_without_index, "failed",
          "its index is missing"),
    Fault("NaN and infinite samples", "nan.wav", wav(with_nan), "done"),
    Fault("digital silence", "silence.wav", wav(np.zeros_like), "done", text=""),
    Fault("10 ms of audio", "crumb.wav", wav(lambda wave: wave[:160]), "failed", "only 10 ms"),
    Fault("a DC offset", "offset.wav", wav(lambda wave: wave + np.float32(0.3)), "done"),
    Fault("clipping", "clipped.wav", wav(lambda wave: np.clip(4 * wave, -1, 1)), "done"),
    Fault("a header with too large a size", "long.wav",
          lambda path: path.write_bytes(wav_with(60 * 32_000, voice_samples())),
          "warnings", "ends after"),
    Fault("a header with too small a size", "less.wav",
          lambda path: path.write_bytes(wav_with(32_000, voice_samples())),
          "warnings", "the header declares 1.0 s, but 5.4 s were decoded"),
    Fault("a header without a length", "pipe.wav",
          lambda path: path.write_bytes(wav_with(0xFFFFFFFF, voice_samples())), "done"),
    Fault("a file that vanishes", "vanishes.wav", wav(unchanged), "failed", "No such file"),
    Fault("a name with [bold] in it", "[bold]x.wav", wav(unchanged), "done", text=TEXT),
    Fault("a name with a leading dash", "-o.wav", wav(unchanged), "done", text=TEXT),
    Fault("a name that is not ASCII", "Gespräch 你好.wav", wav(unchanged), "done", text=TEXT),
    Fault("a very long name", "x" * 251 + ".wav", wav(unchanged), "done", text=TEXT),
    Fault("tags and a cover", "cover.mp3", write_mp3_with_cover, "done"),
    Fault("8-bit samples", "8bit.wav", wav(unchanged, "PCM_U8"), "done"),
    Fault("64-bit floats", "float64.wav", wav(unchanged, "DOUBLE"), "done", text=TEXT),
    Fault("an odd sample rate", "odd.wav", wav(at_another_rate, rate=22_050), "done"),
    Fault("two channels", "two.wav", wav(lambda wave: np.stack([wave, wave], 1)), "done",
          text=TEXT),
    Fault("the same stem twice", "two.flac",
          lambda path: soundfile.write(path, voice_samples(), 16_000), "done"),
    Fault("a folder named x.wav", "x.wav", Path.mkdir, "refused", "no recordings in this folder"),
    Fault("a FIFO", "fifo.wav", os.mkfifo, "refused", "is a pipe, not a file"),
    Fault("a missing file", "gone.wav", lambda path: None, "refused", "no such file"),
]  # fmt: skip

if os.geteuid() != 0:  # root reads anything
    FAULTS.append(
        Fault("a file without read permission", "secret.wav", write_unreadable, "failed",
              "Permission")
    )  # fmt: skip

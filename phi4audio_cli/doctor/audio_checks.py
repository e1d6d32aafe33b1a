"""Check audio decoding and speech detection."""

from __future__ import annotations

import tempfile
import wave
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.audio.vad import ONSET_THRESHOLD, SileroDetector
from phi4audio_cli.doctor.environment_checks import Check
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import WIDE_BAND, Samples

TONE_SECONDS = 1
TONE_TOLERANCE = 0.1
"""Tolerance of the length in seconds, because AAC has frames, and lowest amplitude of the tone."""


def check_decoding() -> Check:
    """Write and read a tone of one second in two containers, one for each decoder."""
    with tempfile.TemporaryDirectory(prefix="phi4audio-") as folder:
        for path in (_write_wav(Path(folder)), _write_m4a(Path(folder))):
            samples, rate = decode_file(path)
            if (
                abs(len(samples) / rate - TONE_SECONDS) > TONE_TOLERANCE
                or np.abs(samples).max() < TONE_TOLERANCE
            ):
                raise AudioError(f"a test tone in {path.suffix} is decoded wrong")
    return Check("decoding", "ok", "WAV by libsndfile, M4A by PyAV")


def check_speech_detection() -> Check:
    """Detect speech in a bundled recording."""
    samples, rate = bundled_sample("short")
    probabilities = [block for _, block in SileroDetector().detect([samples], rate)]
    share = float((np.concatenate(probabilities) > ONSET_THRESHOLD).mean())
    if share == 0:
        return Check(
            "speech", "fail", "not detected in a recording of speech", "install silero-vad again"
        )
    return Check("speech", "ok", f"detected in {share:.0%} of a recording of speech")


def bundled_sample(name: str) -> tuple[Samples, int]:
    """Return a bundled recording, mono float32, and its sample rate in Hz."""
    with as_file(files("phi4audio_cli") / "demo" / "samples" / f"{name}.flac") as path:
        return decode_file(path)


def bundled_reference(name: str) -> str:
    """Return the transcript of a bundled recording."""
    path = files("phi4audio_cli") / "demo" / "samples" / f"{name}.ref.txt"
    return path.read_text(encoding="utf-8").strip()


def decode_file(path: Path) -> tuple[Samples, int]:
    """Decode a whole recording: mono float32, and its sample rate in Hz.

    Raises:
        AudioError: It can't be decoded.
    """
    with open_audio(path) as recording:
        return np.concatenate(list(recording.blocks())), recording.info.sample_rate


def _tone() -> Samples:
    times = np.arange(TONE_SECONDS * WIDE_BAND) / WIDE_BAND
    return (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def _write_wav(folder: Path) -> Path:
    path = folder / "tone.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(WIDE_BAND)
        out.writeframes((_tone() * 32767).astype("<i2").tobytes())
    return path


def _write_m4a(folder: Path) -> Path:
    import av

    path = folder / "tone.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=WIDE_BAND, layout="mono")
        frame = av.AudioFrame.from_ndarray(_tone()[None], format="fltp", layout="mono")
        frame.sample_rate = WIDE_BAND
        for packet in (*stream.encode(frame), *stream.encode(None)):
            out.mux(packet)
    return path

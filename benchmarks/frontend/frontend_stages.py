"""Each stage alone, in one thread, as a function that runs it once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import silero_vad
import torch
from transformers import Phi4MultimodalFeatureExtractor

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.vad import Probabilities, SileroDetector
from phi4audio_cli.model.features import FeatureConfig, FeatureExtractor
from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples

from .looped_recordings import looped_speech

MAX_CHUNK_SECONDS = 40.0
"""Longest chunk, seconds."""

SLOW_STAGE_SHARE = 0.1
"""Share of the audio that the slowest stage gets."""


class Stage(NamedTuple):
    """An operation on audio of some length."""

    seconds: float
    do: Callable[[], object]


class PrecomputedDetector:
    """A detector with stored probabilities, which takes no time."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self._detector = SileroDetector()
        self._detected = list(self._detector.detect(blocks, WIDE_BAND))

    def window_length(self, sample_rate: int) -> int:
        """Return the window's length in samples."""
        return self._detector.window_length(sample_rate)

    def detect(self, *_: object) -> Iterator[tuple[Samples, Probabilities]]:
        """Return the stored probabilities."""
        return iter(self._detected)


def decode_file(path: Path) -> None:
    """Decode a file to mono blocks."""
    with open_audio(path) as recording:
        for _ in recording.blocks():
            pass


def build_stages(files: Mapping[str, Path], seconds: float) -> dict[str, Stage]:
    """Return the stages by name."""
    mono = looped_speech(seconds)
    blocks = np.split(mono, range(10 * WIDE_BAND, len(mono), 10 * WIDE_BAND))
    half = mono[: len(mono) // 2]  # at 8 kHz of the same duration
    excerpt = mono[: int(SLOW_STAGE_SHARE * len(mono))]
    chunks = np.split(
        mono,
        range(int(MAX_CHUNK_SECONDS) * WIDE_BAND, len(mono), int(MAX_CHUNK_SECONDS) * WIDE_BAND),
    )
    precomputed, detector, extractor = (
        PrecomputedDetector(blocks),
        SileroDetector(),
        Phi4MultimodalFeatureExtractor(),
    )
    features = FeatureExtractor(FeatureConfig(), torch.device("cpu"))
    theirs: Any = silero_vad.load_silero_vad()

    def package_vad() -> None:
        theirs.reset_states()
        for window in torch.split(torch.from_numpy(excerpt[: len(excerpt) // 512 * 512]), 512):
            theirs(window, WIDE_BAND)

    def library_features() -> None:
        for chunk in chunks:
            extractor(chunk, sampling_rate=WIDE_BAND, return_tensors="pt")

    todo: dict[str, Callable[[], object]] = {
        **{f"decode {name}": partial(decode_file, path) for name, path in files.items()},
        "VAD 16k": lambda: list(detector.detect(blocks, WIDE_BAND)),
        "VAD 8k": lambda: list(detector.detect([half], NARROW_BAND)),
        "cut at pauses": lambda: list(
            chunk_speech(blocks, WIDE_BAND, MAX_CHUNK_SECONDS, precomputed)
        ),
        "cut by energy": lambda: list(chunk_at_silence(blocks, WIDE_BAND, MAX_CHUNK_SECONDS)),
        "features 16k, transformers' own": library_features,
        "features 16k": lambda: [features(chunk, WIDE_BAND) for chunk in chunks],
        "features 8k": lambda: features(half, NARROW_BAND),
    }
    return {
        "VAD 16k, silero-vad's own": Stage(SLOW_STAGE_SHARE * seconds, package_vad),
        **{name: Stage(seconds, do) for name, do in todo.items()},
    }

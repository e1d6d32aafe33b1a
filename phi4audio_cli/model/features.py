"""Log-mel features as the model was trained on them.

16 kHz audio goes through transformers' extractor. Telephone audio (8 kHz) is not resampled: the
original code frames it at its own rate and leaves the bins from 4 to 8 kHz empty, and that is what
the model heard in training (Microsoft's `processing_phi4mm.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from transformers.models.phi4_multimodal.feature_extraction_phi4_multimodal import (
    Phi4MultimodalFeatureExtractor,
)

from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples

FRAMES_PER_EMBEDDING = 8
WIDE_WINDOW = 400
WIDE_HOP = 160
NARROW_WINDOW = 200
NARROW_HOP = 80
NARROW_FFT = 256
FRAMES_AT_ONCE = 6000
"""Frames are independent of each other, and a minute's take 100 MB on the way: never more."""
SHORTEST_SECONDS = 0.025
"""One analysis window; shorter audio has no frame."""
UPPER_EDGE = 7690
"""Upper edge of the mel filters, Hz."""


@lru_cache(maxsize=2)
def load_extractor(folder: Path) -> Phi4MultimodalFeatureExtractor:
    """Read the extractor's settings from a checkpoint folder.

    The original layout's file names a class of remote code; the numbers it leaves out are
    transformers' defaults, so only a file of the native layout is passed on.

    Raises:
        CheckpointError: The settings are not those of a 16 kHz Phi-4 front end.
    """
    settings_file = folder / "preprocessor_config.json"
    settings: dict[str, object] = {}
    if settings_file.exists():
        found, _ = Phi4MultimodalFeatureExtractor.get_feature_extractor_dict(folder)
        if found.get("feature_extractor_type") == "Phi4MultimodalFeatureExtractor":
            settings = found
    _check(settings, settings_file)
    extractor = Phi4MultimodalFeatureExtractor.from_dict(settings)
    # The original's last filter ends below the bin nearest the edge; transformers' includes it.
    edge_bin = round(UPPER_EDGE * extractor.n_fft / WIDE_BAND)
    extractor.mel_filters[edge_bin:] = 0
    return extractor


def log_mel(
    samples: Samples, sample_rate: int, extractor: Phi4MultimodalFeatureExtractor
) -> torch.Tensor:
    """Compute the features of one chunk.

    Args:
        samples: Mono float32, shape (length,), at least `SHORTEST_SECONDS`.
        sample_rate: WIDE_BAND or NARROW_BAND, Hz.
        extractor: Of the checkpoint.

    Returns:
        float32, shape (frames, mel bands), one frame every 10 ms.

    Raises:
        ValueError: The chunk is too short to give a frame, or of another rate.
    """
    if len(samples) < SHORTEST_SECONDS * sample_rate:
        raise ValueError(f"{len(samples)} samples at {sample_rate} Hz give no feature frame")
    if sample_rate == NARROW_BAND:
        pieces = _pieces(samples, NARROW_WINDOW, NARROW_HOP)
        return torch.cat([_narrow_band(torch.from_numpy(each), extractor) for each in pieces])
    if sample_rate != WIDE_BAND:
        raise ValueError(f"the model hears {WIDE_BAND} or {NARROW_BAND} Hz, not {sample_rate}")
    pieces = _pieces(samples, WIDE_WINDOW, WIDE_HOP)
    return torch.cat([_wide_band(each, extractor) for each in pieces])


def embedding_count(frames: int) -> int:
    """Number of audio embeddings, one every 80 ms, for a number of feature frames."""
    return -(-frames // FRAMES_PER_EMBEDDING)


def _check(settings: Mapping[str, object], settings_file: Path) -> None:
    wanted = {"sampling_rate": WIDE_BAND, "win_length": WIDE_WINDOW, "feature_size": 80}
    for name, value in wanted.items():
        if settings.get(name, value) != value:
            raise CheckpointError(
                f"{name} is {settings[name]}, and Phi-4 was trained with {value}",
                where=str(settings_file),
                remedy="take the preprocessor_config.json of the published checkpoint",
            )


def _pieces(samples: Samples, window: int, hop: int) -> Iterator[Samples]:
    """Divide samples so that the pieces have the frames of the whole, in order."""
    frames = (len(samples) - window) // hop + 1
    for first in range(0, frames, FRAMES_AT_ONCE):
        last = min(first + FRAMES_AT_ONCE, frames) - 1
        yield samples[first * hop : last * hop + window]


def _wide_band(samples: Samples, extractor: Phi4MultimodalFeatureExtractor) -> torch.Tensor:
    batch = extractor(samples, sampling_rate=WIDE_BAND, return_tensors="pt")
    features: torch.Tensor = batch["audio_input_features"][0]
    return features


def _narrow_band(samples: torch.Tensor, extractor: Phi4MultimodalFeatureExtractor) -> torch.Tensor:
    frames = samples.unfold(0, NARROW_WINDOW, NARROW_HOP)
    previous = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    emphasised = (frames - extractor.preemphasis * previous) * 32768
    window = torch.hamming_window(NARROW_WINDOW, periodic=False, dtype=torch.float64)
    spectrum = torch.fft.rfft(window * emphasised, n=NARROW_FFT).to(torch.complex64).abs()
    # The last bin is 4 kHz: the original sets it to 0 with all above it.
    power = torch.zeros(len(frames), extractor.n_fft // 2 + 1)
    power[:, : NARROW_FFT // 2] = spectrum[:, :-1] ** 2
    mel = power @ torch.from_numpy(extractor.mel_filters).to(torch.float32)
    return mel.clamp(min=1.0).log()

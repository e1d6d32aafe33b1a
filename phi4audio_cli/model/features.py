"""Log-mel features as the model was trained on them, on any device.

16 kHz audio gets transformers' features, several times faster. Telephone audio (8 kHz) is not
resampled: the original code frames it at its own rate and leaves the bins from 4 to 8 kHz empty,
and that is what the model heard in training (Microsoft's `processing_phi4mm.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from transformers.models.phi4_multimodal.feature_extraction_phi4_multimodal import (
    Phi4MultimodalFeatureExtractor,
)

from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples


@dataclass(frozen=True, slots=True)
class Framing:
    """How audio of one rate is cut into frames, all in samples."""

    window: int
    hop: int
    fft: int
    bins: int
    """Bins that are heard, from 0 Hz on, 31.25 Hz apart."""


FRAMINGS = {
    WIDE_BAND: Framing(window=400, hop=160, fft=512, bins=257),
    # The last bin is 4 kHz: the original sets it to 0 with all above it.
    NARROW_BAND: Framing(window=200, hop=80, fft=256, bins=128),
}

FRAMES_PER_EMBEDDING = 8
FRAMES_AT_ONCE = 250
"""On a processor: what they take on the way stays in its cache, 3 MB. Frames are independent of
each other; always as many, so that a chunk's features have the same bits whatever is beside it."""
FRAMES_AT_ONCE_ON_DEVICE = 6000
"""A minute's take 100 MB on the way."""
SHORTEST_SECONDS = 0.025
"""One analysis window; shorter audio has no frame."""
UPPER_EDGE = 7690
"""Upper edge of the mel filters, Hz."""
FULL_SCALE = 32768
"""Samples in [-1, 1] are multiplied by this: the model was trained on 16-bit values."""


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


class LogMel:
    """Computes features: on the network's device where that is CUDA, else on the processor.

    On CUDA they have a stream of their own, so that the thread that prepares requests does not
    wait for what the network computes. Where its memory is full, the processor does it.

    Args:
        extractor: Of the checkpoint.
        device: Where the network runs.
    """

    def __init__(self, extractor: Phi4MultimodalFeatureExtractor, device: torch.device) -> None:
        self._extractor = extractor
        self._device = device
        # Apple's devices know no float64.
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, samples: Samples, sample_rate: int) -> torch.Tensor:
        """Compute the features of one chunk, as `log_mel` does."""
        if self._stream is None:
            return log_mel(samples, sample_rate, self._extractor)
        try:
            return self._on_device(samples, sample_rate, self._stream)
        except torch.OutOfMemoryError:
            return log_mel(samples, sample_rate, self._extractor)

    def _on_device(
        self, samples: Samples, sample_rate: int, stream: torch.cuda.Stream
    ) -> torch.Tensor:
        with torch.cuda.stream(stream):
            features = log_mel(samples, sample_rate, self._extractor, self._device)
        stream.synchronize()
        # Its memory belongs to this stream: not to be used anew while the network still reads it.
        features.record_stream(torch.cuda.default_stream(self._device))
        return features


def log_mel(
    samples: Samples,
    sample_rate: int,
    extractor: Phi4MultimodalFeatureExtractor,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Compute the features of one chunk.

    Args:
        samples: Mono float32, shape (length,), at least `SHORTEST_SECONDS`.
        sample_rate: WIDE_BAND or NARROW_BAND, Hz.
        extractor: Of the checkpoint; its filters and its pre-emphasis count.
        device: Where to compute them. It must know float64.

    Returns:
        float32, shape (frames, mel bands), one frame every 10 ms, on the device.

    Raises:
        ValueError: The chunk is too short to give a frame, or of another rate.
    """
    if len(samples) < SHORTEST_SECONDS * sample_rate:
        raise ValueError(f"{len(samples)} samples at {sample_rate} Hz give no feature frame")
    framing = FRAMINGS.get(sample_rate)
    if framing is None:
        raise ValueError(f"the model hears {WIDE_BAND} or {NARROW_BAND} Hz, not {sample_rate}")
    heard = torch.from_numpy(samples).to(device)
    on_cpu = heard.device.type == "cpu"
    at_once = FRAMES_AT_ONCE if on_cpu else FRAMES_AT_ONCE_ON_DEVICE
    filters = torch.from_numpy(extractor.mel_filters[: framing.bins]).to(device, torch.float32)
    frames = heard.unfold(0, framing.window, framing.hop)
    return torch.cat(
        [
            (_power(each, framing, extractor.preemphasis) @ filters).clamp_(min=1.0).log_()
            for each in torch.split(frames, at_once)
        ]
    )


def _power(frames: torch.Tensor, framing: Framing, preemphasis: float) -> torch.Tensor:
    """Return the power of frames, shape (n, bins), float32; the spectrum is computed in float64.

    In float32 a weak band beside a strong one would be wrong by more than 1e-4 in its logarithm.
    """
    previous = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    emphasised = (frames - preemphasis * previous) * FULL_SCALE
    window = torch.hamming_window(
        framing.window, periodic=False, dtype=torch.float64, device=frames.device
    )
    spectrum = torch.fft.rfft(window * emphasised, n=framing.fft).to(torch.complex64)
    heard = spectrum[:, : framing.bins]
    power: torch.Tensor = heard.real.square() + heard.imag.square()
    return power


def embedding_count(frames: int) -> int:
    """Number of audio embeddings, one every 80 ms, for a number of feature frames."""
    return -(-frames // FRAMES_PER_EMBEDDING)


def _check(settings: Mapping[str, object], settings_file: Path) -> None:
    window = FRAMINGS[WIDE_BAND].window
    wanted = {"sampling_rate": WIDE_BAND, "win_length": window, "feature_size": 80}
    for name, value in wanted.items():
        if settings.get(name, value) != value:
            raise CheckpointError(
                f"{name} is {settings[name]}, and Phi-4 was trained with {value}",
                where=str(settings_file),
                remedy="take the preprocessor_config.json of the published checkpoint",
            )

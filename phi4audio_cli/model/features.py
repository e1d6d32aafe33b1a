"""Log-mel features as the model was trained on them, on any device.

16 kHz audio gets the features of transformers' extractor, several times faster. Telephone audio
(8 kHz) is not resampled: the original code frames it at its own rate and leaves the bins from 4 to
8 kHz empty, and these are the features of the training (Microsoft's `processing_phi4mm.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.types import NARROW_BAND, WIDE_BAND, Samples


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """How audio of one rate is cut into frames, all in samples."""

    window: int
    hop: int
    fft: int
    bins: int
    """Frequency bins that are used, from 0 Hz on, 31.25 Hz apart."""


FRAME_SPECS = {
    WIDE_BAND: FrameSpec(window=400, hop=160, fft=512, bins=257),
    # The last bin is 4 kHz: the original sets it to 0 with all above it.
    NARROW_BAND: FrameSpec(window=200, hop=80, fft=256, bins=128),
}

FRAMES_PER_EMBEDDING = 8
FRAMES_AT_ONCE = 250
"""On a processor: their intermediate results stay in its cache, 3 MB. It is a constant, so that the
features of a chunk have the same bits in every run."""
FRAMES_AT_ONCE_ON_DEVICE = 6000
"""A minute's intermediate results take 100 MB."""
SHORTEST_SECONDS = 0.025
"""One analysis window; shorter audio has no frame."""
FULL_SCALE = 32768
"""Samples in [-1, 1] are multiplied by this: the model was trained on 16-bit values."""


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """Numbers of `preprocessor_config.json` that change features; defaults as in transformers."""

    feature_size: int = 80
    """Mel bands."""
    preemphasis: float = 0.97
    mel_min_frequency: float = 0.0
    """Lower edge of the first mel filter, Hz."""
    mel_max_frequency: float = 7690.0
    """Upper edge of the last, Hz."""


def load_feature_config(folder: Path) -> FeatureConfig:
    """Read the feature settings of a checkpoint folder.

    The original layout's file names a class of remote code and leaves the numbers out, so only a
    file of the native layout is read.

    Raises:
        CheckpointError: The settings are not those of a 16 kHz Phi-4 front end.
    """
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return FeatureConfig()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"can't be read: {error}", str(path)) from error
    if found.get("feature_extractor_type") != "Phi4MultimodalFeatureExtractor":
        return FeatureConfig()
    _check(found, path)
    default = FeatureConfig()
    return FeatureConfig(
        preemphasis=float(found.get("preemphasis", default.preemphasis)),
        mel_min_frequency=float(found.get("mel_min_frequency", default.mel_min_frequency)),
        mel_max_frequency=float(found.get("mel_max_frequency", default.mel_max_frequency)),
    )


def _check(settings: Mapping[str, Any], path: Path) -> None:
    spec = FRAME_SPECS[WIDE_BAND]
    expected = {
        "sampling_rate": WIDE_BAND,
        "win_length": spec.window,
        "hop_length": spec.hop,
        "n_fft": spec.fft,
        "feature_size": FeatureConfig().feature_size,
    }
    for name, value in expected.items():
        if settings.get(name, value) != value:
            raise CheckpointError(
                f"{name} is {settings[name]}, and Phi-4 was trained with {value}",
                where=str(path),
                remedy="take the preprocessor_config.json of the published checkpoint",
            )


@lru_cache(maxsize=4)
def mel_filters(config: FeatureConfig) -> npt.NDArray[np.float64]:
    """Return triangular filters as Kaldi makes them: spaced and shaped on the mel scale.

    Returns:
        Shape (bins of 16 kHz audio, mel bands).
    """
    spec = FRAME_SPECS[WIDE_BAND]
    low, high = _mel(config.mel_min_frequency), _mel(config.mel_max_frequency)
    edges = np.linspace(low, high, config.feature_size + 2)
    widths = np.diff(edges)
    bins = _mel(WIDE_BAND / spec.fft * np.arange(spec.bins))
    rising = (bins[:, None] - edges[:-2]) / widths[:-1]
    falling = (edges[2:] - bins[:, None]) / widths[1:]
    filters: npt.NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return filters


def _mel(frequency: Any) -> Any:
    """Convert Hz to mel, by Kaldi's formula."""
    return 1127.0 * np.log(1.0 + frequency / 700.0)


def _used_filters(config: FeatureConfig) -> npt.NDArray[np.float64]:
    """Return the filters without the bin nearest the upper edge, which the original leaves out."""
    filters = mel_filters(config).copy()
    filters[round(config.mel_max_frequency * FRAME_SPECS[WIDE_BAND].fft / WIDE_BAND) :] = 0
    return filters


class FeatureExtractor:
    """Computes features: on the network's device where that is CUDA, else on the processor.

    On CUDA they have a stream of their own, so that the thread that prepares requests does not
    wait for the network. Where the device's memory is full, the processor computes them.

    Args:
        config: Of the checkpoint.
        device: Where the network runs.
    """

    def __init__(self, config: FeatureConfig, device: torch.device) -> None:
        self.config = config
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":  # Apple's devices have no float64
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, samples: Samples, sample_rate: int) -> torch.Tensor:
        """Compute the features of one chunk, as `log_mel` does."""
        if self._stream is None:
            return log_mel(samples, sample_rate, self.config)
        try:
            return self._on_device(samples, sample_rate, self._stream)
        except torch.OutOfMemoryError:
            return log_mel(samples, sample_rate, self.config)

    def _on_device(
        self, samples: Samples, sample_rate: int, stream: torch.cuda.Stream
    ) -> torch.Tensor:
        with torch.cuda.stream(stream):
            features = log_mel(samples, sample_rate, self.config, self._device)
        stream.synchronize()
        # Its memory belongs to this stream: not to be used again while the network still reads it.
        features.record_stream(torch.cuda.default_stream(self._device))
        return features


def log_mel(
    samples: Samples,
    sample_rate: int,
    config: FeatureConfig,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Compute the features of one chunk.

    Args:
        samples: Mono float32, shape (length,), at least `SHORTEST_SECONDS`.
        sample_rate: WIDE_BAND or NARROW_BAND, Hz.
        config: Of the checkpoint.
        device: Where to compute them. It must have float64.

    Returns:
        float32, shape (frames, mel bands), one frame every 10 ms, on the device.

    Raises:
        ValueError: The chunk is too short to give a frame, or of another rate.
    """
    if len(samples) < SHORTEST_SECONDS * sample_rate:
        raise ValueError(f"{len(samples)} samples at {sample_rate} Hz give no feature frame")
    spec = FRAME_SPECS.get(sample_rate)
    if spec is None:
        raise ValueError(f"the model takes {WIDE_BAND} or {NARROW_BAND} Hz, not {sample_rate}")
    waveform = torch.from_numpy(samples).to(device)
    on_cpu = waveform.device.type == "cpu"
    at_once = FRAMES_AT_ONCE if on_cpu else FRAMES_AT_ONCE_ON_DEVICE
    filters = torch.from_numpy(_used_filters(config)[: spec.bins]).to(device, torch.float32)
    frames = waveform.unfold(0, spec.window, spec.hop)
    return torch.cat(
        [
            (_power(each, spec, config.preemphasis) @ filters).clamp_(min=1.0).log_()
            for each in torch.split(frames, at_once)
        ]
    )


def _power(frames: torch.Tensor, spec: FrameSpec, preemphasis: float) -> torch.Tensor:
    """Return the power of frames, shape (n, bins), float32; the spectrum is computed in float64.

    In float32 the logarithm of a weak band next to a strong one has errors above 1e-4.
    """
    previous = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    emphasised = (frames - preemphasis * previous) * FULL_SCALE
    window = torch.hamming_window(
        spec.window, periodic=False, dtype=torch.float64, device=frames.device
    )
    spectrum = torch.fft.rfft(window * emphasised, n=spec.fft).to(torch.complex64)
    used = spectrum[:, : spec.bins]
    power: torch.Tensor = used.real.square() + used.imag.square()
    return power


def embedding_count(frames: int) -> int:
    """Number of audio embeddings, one every 80 ms, for a number of feature frames."""
    return -(-frames // FRAMES_PER_EMBEDDING)

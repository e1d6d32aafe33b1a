"""Audio files for the tests: synthesis, encoding and decoding."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from phi4audio_cli.audio.decode import open_audio

Array = npt.NDArray[np.float32]


def sine(rate: int, seconds: float = 2.0, hertz: float = 440.0) -> Array:
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype("f4")


def decode(path: Path) -> tuple[int, Array]:
    with open_audio(path) as recording:
        blocks = list(recording.blocks())
        assert recording.damage is None
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    assert all(block.flags.c_contiguous and len(block) for block in blocks)
    return recording.info.sample_rate, np.concatenate(blocks)


def encode(
    path: Path,
    codec: str,
    frames: npt.NDArray[np.generic],
    rate: int,
    layout: str,
    options: dict[str, str] | None = None,
) -> None:
    """Write (channels, length) frames with PyAV."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for start in range(0, frames.shape[1], 16000):
            part = np.ascontiguousarray(frames[:, start : start + 16000], dtype="f4")
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def noise(seconds: float, rate: int = 16000) -> Array:
    return np.random.default_rng(0).normal(0, 0.1, int(seconds * rate)).astype("f4")


def decode_damaged(path: Path) -> tuple[Array, str | None]:
    with open_audio(path) as recording:
        blocks = list(recording.blocks())
    return np.concatenate(blocks), recording.damage

"""Silero's voice-activity network, over many windows at once.

The package runs one window of 32 ms a call. Only the recurrent part needs the windows in order,
so here everything before it is computed for a whole stretch together, and the recurrent part in
one call: the same probabilities many times faster.

Based on silero-vad 6 (MIT), whose weights are read from where it is installed.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from phi4audio_cli.errors import ModelError
from phi4audio_cli.types import NARROW_BAND, Samples

if TYPE_CHECKING:
    import torch

WINDOW_SECONDS = 0.032
"""One probability is given for each window of this length."""

STRIDES = (1, 2, 2, 1)
"""Of the four convolutions; they turn the 4 spectra of a window into one vector."""

HIDDEN = 128
"""Size of the recurrent state."""


def window_length(sample_rate: int) -> int:
    """Return the window's length in samples: 512 at 16 kHz, 256 at 8 kHz."""
    return 256 if sample_rate == NARROW_BAND else 512


class Silero:
    """The network for one sample rate; what it remembers of a recording is handed in and out.

    Args:
        sample_rate: WIDE_BAND or NARROW_BAND, Hz.

    Raises:
        ModelError: silero-vad is not installed, or is not the version known here.
    """

    def __init__(self, sample_rate: int) -> None:
        self.window = window_length(sample_rate)
        self.context = self.window // 8
        """So many samples before a window are heard with it."""
        self._weights = _weights("_model_8k." if sample_rate == NARROW_BAND else "_model.")
        self._lstm = _lstm(self._weights)

    def begin(self) -> Memory:
        """Return what is remembered before a recording's first sample."""
        return Memory(np.zeros(self.context, np.float32), None)

    def listen(self, samples: Samples, memory: Memory) -> tuple[npt.NDArray[np.float32], Memory]:
        """Give the probability of speech in each window.

        Args:
            samples: Whole windows, shape (windows * window,).
            memory: Of the samples before.

        Returns:
            Probabilities, shape (windows,), and the memory for the samples that follow.
        """
        import torch

        heard = np.concatenate([memory.tail, samples])
        windows = np.lib.stride_tricks.sliding_window_view(heard, self.window + self.context)
        with torch.inference_mode():
            vectors = self._encode(torch.from_numpy(windows[:: self.window].copy()))
            hidden, state = self._lstm(vectors, memory.state)
            weights = self._weights
            scores = torch.relu(hidden) @ weights["decoder.decoder.2.weight"].reshape(HIDDEN)
            scores = torch.sigmoid(scores + weights["decoder.decoder.2.bias"])
        return scores.numpy(), Memory(heard[-self.context :], state)

    def _encode(self, windows: torch.Tensor) -> torch.Tensor:
        """Turn windows with context, shape (n, window + context), into vectors (n, HIDDEN)."""
        import torch.nn.functional as F  # noqa: N812 (its usual name)

        weights = self._weights
        basis = weights["stft.forward_basis_buffer"]
        size = basis.shape[-1]
        padded = F.pad(windows[:, None], (0, size // 4), mode="reflect")
        real, imaginary = F.conv1d(padded, basis, stride=size // 2).chunk(2, dim=1)
        hidden = (real.square() + imaginary.square()).sqrt()
        for index, stride in enumerate(STRIDES):
            name = f"encoder.{index}.reparam_conv"
            weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            hidden = F.conv1d(hidden, weight, bias, stride=stride, padding=1).relu()
        return hidden.squeeze(-1)


class Memory:
    """What the network remembers between two stretches of one recording.

    Args:
        tail: The last samples, shape (context,).
        state: Of the recurrent part.
    """

    __slots__ = ("state", "tail")

    def __init__(self, tail: Samples, state: Any) -> None:
        self.tail = tail
        self.state = state


@functools.cache
def load(sample_rate: int) -> Silero:
    """Return the network for a sample rate; it is loaded once."""
    return Silero(sample_rate)


def _lstm(weights: dict[str, torch.Tensor]) -> torch.nn.LSTM:
    import torch

    lstm = torch.nn.LSTM(HIDDEN, HIDDEN)
    lstm.load_state_dict(
        {
            f"{kind}_{part}_l0": weights[f"decoder.rnn.{kind}_{part}"]
            for kind, part in itertools.product(("weight", "bias"), ("ih", "hh"))
        }
    )
    return lstm.eval()


def _weights(prefix: str) -> dict[str, torch.Tensor]:
    """Read the weights from silero-vad's file without importing silero-vad.

    Its import would set torch to one thread, for the whole process.
    """
    import torch

    for path in _files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit's own announcement
            module: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        tensors = module.state_dict()
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
    raise ModelError(
        "the voice-activity model is not installed",
        "silero-vad",
        "pip install 'silero-vad>=6', or cut by energy with --no-vad",
    )


def _files() -> Iterator[Path]:
    spec = importlib.util.find_spec("silero_vad")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "data" / "silero_vad.jit"
        if path.is_file():
            yield path

"""Silero's voice-activity network over many windows at once, in numpy, and its weights.

The package runs one 32 ms window a call, with torch. Only the recurrent part needs the windows in
order; the layers before it are matrix products over many windows. The probabilities are the same,
several times faster, and a process that uses them never loads torch.

Based on silero-vad 6 (MIT), whose installed file provides the weights.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from phi4audio_cli.errors import ModelError
from phi4audio_cli.types import NARROW_BAND, Samples

Array = npt.NDArray[np.float32]

WINDOW_SECONDS = 0.032
"""One probability is given for each window of this length."""

CONV_STRIDES = (1, 2, 2, 1)
"""Of the four convolutions; they turn the 4 spectra of a window into one vector."""

SPECTRA_PER_WINDOW = 4
"""A window has so many, each begins half its length after the one before."""

HIDDEN_SIZE = 128
"""Size of the recurrent state."""

GATE_SCALES = np.repeat(np.array([-1, -1, -2, -1], np.float32), HIDDEN_SIZE)
"""The gates' weights are multiplied by this: with x negated, 1 / (1 + exp(x)) is the sigmoid, and
twice that of 2x, less 1, is tanh(x). So one call computes all four gates."""


def window_length(sample_rate: int) -> int:
    """Return the window's length in samples: 512 at 16 kHz, 256 at 8 kHz."""
    return 256 if sample_rate == NARROW_BAND else 512


class SileroNetwork:
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
        weights = read_weights(sample_rate)
        self._basis = _transposed(weights["stft.forward_basis_buffer"][:, 0])
        names = [f"encoder.{index}.reparam_conv" for index in range(len(CONV_STRIDES))]
        # One matrix for each of the three places that a convolution's kernel covers.
        self._kernels = [
            _transposed(weights[f"{name}.weight"].transpose(2, 0, 1)) for name in names
        ]
        self._biases = [weights[f"{name}.bias"] for name in names]
        self._input_weights = _transposed(weights["decoder.rnn.weight_ih"]) * GATE_SCALES
        self._state_weights = _transposed(weights["decoder.rnn.weight_hh"]) * GATE_SCALES
        both = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
        self._gate_bias = both * GATE_SCALES
        self._output_weights = weights["decoder.decoder.2.weight"].reshape(HIDDEN_SIZE)
        self._output_bias = weights["decoder.decoder.2.bias"]

    def initial_state(self) -> RecurrentState:
        """Return what is remembered before a recording's first sample."""
        nothing = np.zeros(HIDDEN_SIZE, np.float32)
        return RecurrentState(np.zeros(self.context, np.float32), nothing, nothing)

    def forward(self, samples: Samples, state: RecurrentState) -> tuple[Array, RecurrentState]:
        """Give the probability of speech in each window.

        Args:
            samples: Whole windows, shape (windows * window,).
            state: Of the samples before.

        Returns:
            Probabilities, shape (windows,), and the memory for the samples that follow.
        """
        heard = np.concatenate([state.context, samples])
        windows = np.lib.stride_tricks.sliding_window_view(heard, self.window + self.context)
        vectors = self._encode(self._spectra(windows[:: self.window]))
        hidden, cell = self._lstm(vectors, state)
        scores = np.maximum(hidden, 0) @ self._output_weights + self._output_bias
        with np.errstate(over="ignore"):  # exp is infinite there: the probability is 0
            scores = 1 / (1 + np.exp(-scores))
        return scores, RecurrentState(heard[-self.context :], hidden[-1], cell)

    def _spectra(self, windows: Array) -> list[Array]:
        """Return a window's magnitudes, four of (n, bins), from (n, window + context)."""
        count, length = windows.shape
        size = len(self._basis)
        padded = np.empty((count, length + size // 4), np.float32)
        padded[:, :length] = windows
        padded[:, length:] = windows[:, -2 : -2 - size // 4 : -1]  # mirrored
        starts = range(0, SPECTRA_PER_WINDOW * size // 2, size // 2)
        return [self._magnitude(padded[:, start : start + size]) for start in starts]

    def _magnitude(self, frames: Array) -> Array:
        parts = frames @ self._basis  # real parts, then imaginary ones
        np.square(parts, out=parts)
        bins = parts.shape[1] // 2
        magnitude: Array = np.sqrt(parts[:, :bins] + parts[:, bins:])
        return magnitude

    def _encode(self, frames: Sequence[Array]) -> Array:
        """Turn four spectra of n windows, each (n, bins), into vectors (n, HIDDEN)."""
        for stride, kernel, bias in zip(CONV_STRIDES, self._kernels, self._biases, strict=True):
            frames = [
                _convolve(frames, centre, kernel, bias) for centre in range(0, len(frames), stride)
            ]
        [vectors] = frames
        return vectors

    def _lstm(self, vectors: Array, previous: RecurrentState) -> tuple[Array, Array]:
        """Run the recurrent part (an LSTM) in order: hidden states (n, HIDDEN), the last cell.

        A loop over short arrays: results are written in place, which halves its time.
        """
        inputs = vectors @ self._input_weights + self._gate_bias
        hidden = np.empty_like(vectors)
        cell, state = previous.cell.copy(), previous.hidden
        new, gates = np.empty_like(cell), np.empty_like(self._gate_bias)
        take, keep, value, show = np.split(gates, 4)  # views
        with np.errstate(over="ignore"):
            for given, out in zip(inputs, hidden, strict=True):
                np.dot(state, self._state_weights, out=gates)
                np.add(gates, given, out=gates)
                np.exp(gates, out=gates)
                np.add(gates, 1, out=gates)
                np.reciprocal(gates, out=gates)
                # cell = keep * cell + take * (2 * value - 1)
                np.multiply(cell, keep, out=cell)
                np.add(value, value, out=value)
                np.subtract(value, 1, out=value)
                np.multiply(take, value, out=new)
                np.add(cell, new, out=cell)
                np.tanh(cell, out=new)
                state = np.multiply(show, new, out=out)
        return hidden, cell


class RecurrentState:
    """What the network remembers between two stretches of one recording.

    Args:
        context: The last samples, shape (context,).
        hidden: Last output of the recurrent part, shape (HIDDEN,).
        cell: Its long memory, shape (HIDDEN,).
    """

    __slots__ = ("cell", "hidden", "context")

    def __init__(self, context: Samples, hidden: Array, cell: Array) -> None:
        self.context = context
        self.hidden = hidden
        self.cell = cell


@functools.cache
def load(sample_rate: int) -> SileroNetwork:
    """Return the network for a sample rate; it is loaded once."""
    return SileroNetwork(sample_rate)


def _convolve(frames: Sequence[Array], centre: int, kernel: Array, bias: Array) -> Array:
    """Convolve at one place, with what stands beside it; beyond the ends is nothing."""
    reach = range(max(0, centre - 1), min(len(frames), centre + 2))
    total = bias + sum(frames[place] @ kernel[place - centre + 1] for place in reach)
    result: Array = np.maximum(total, 0, out=total)
    return result


def _transposed(matrix: Array) -> Array:
    """Transpose the last two axes, laid out so that vectors can be multiplied from the left."""
    return np.ascontiguousarray(matrix.swapaxes(-1, -2))


Weights = Mapping[str, npt.NDArray[np.float32]]


def read_weights(sample_rate: int) -> Weights:
    """Return the weights of the network for a sample rate, by their names.

    Raises:
        ModelError: silero-vad is not installed.
    """
    prefix = "_model_8k." if sample_rate == NARROW_BAND else "_model."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in _read_all_weights().items()
        if name.startswith(prefix)
    }


@functools.cache
def _read_all_weights() -> Weights:
    """Read the weights from silero-vad's file without importing silero-vad.

    Its import would set torch to one thread, for the whole process.
    """
    for path in _weight_files():
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit's own announcement
            module: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        return {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    raise ModelError(
        "the voice-activity model is not installed",
        "silero-vad",
        "pip install 'silero-vad>=6', or cut by energy with --no-vad",
    )


def _weight_files() -> Iterator[Path]:
    spec = importlib.util.find_spec("silero_vad")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "data" / "silero_vad.jit"
        if path.is_file():
            yield path

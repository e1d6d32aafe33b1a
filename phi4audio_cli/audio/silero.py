"""Silero's voice-activity network, over many windows at once, with numpy alone.

The package runs one window of 32 ms a call, with torch. Only the recurrent part needs the windows
in order; all before it is matrix products over a whole stretch. The same probabilities, several
times faster, in processes that never load torch: they start soon and stay small.

Based on silero-vad 6 (MIT), whose weights are read from where it is installed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from phi4audio_cli.audio import silero_weights
from phi4audio_cli.types import NARROW_BAND, Samples

Array = npt.NDArray[np.float32]

WINDOW_SECONDS = 0.032
"""One probability is given for each window of this length."""

STRIDES = (1, 2, 2, 1)
"""Of the four convolutions; they turn the 4 spectra of a window into one vector."""

SPECTRA = 4
"""A window has so many, each begins half its length after the one before."""

HIDDEN = 128
"""Size of the recurrent state."""

GATES = np.repeat(np.array([-1, -1, -2, -1], np.float32), HIDDEN)
"""The gates' weights are multiplied by this: with x negated, 1 / (1 + exp(x)) is the sigmoid, and
twice that of 2x, less 1, is tanh(x). So one call computes all four gates."""


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
        weights = silero_weights.weights(sample_rate)
        self._basis = _columns(weights["stft.forward_basis_buffer"][:, 0])
        names = [f"encoder.{index}.reparam_conv" for index in range(len(STRIDES))]
        # One matrix for each of the three places that a convolution's kernel covers.
        self._kernels = [_columns(weights[f"{name}.weight"].transpose(2, 0, 1)) for name in names]
        self._biases = [weights[f"{name}.bias"] for name in names]
        self._of_input = _columns(weights["decoder.rnn.weight_ih"]) * GATES
        self._of_state = _columns(weights["decoder.rnn.weight_hh"]) * GATES
        both = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
        self._gate_bias = both * GATES
        self._out = weights["decoder.decoder.2.weight"].reshape(HIDDEN)
        self._out_bias = weights["decoder.decoder.2.bias"]

    def begin(self) -> Memory:
        """Return what is remembered before a recording's first sample."""
        nothing = np.zeros(HIDDEN, np.float32)
        return Memory(np.zeros(self.context, np.float32), nothing, nothing)

    def listen(self, samples: Samples, memory: Memory) -> tuple[Array, Memory]:
        """Give the probability of speech in each window.

        Args:
            samples: Whole windows, shape (windows * window,).
            memory: Of the samples before.

        Returns:
            Probabilities, shape (windows,), and the memory for the samples that follow.
        """
        heard = np.concatenate([memory.tail, samples])
        windows = np.lib.stride_tricks.sliding_window_view(heard, self.window + self.context)
        vectors = self._encode(self._spectra(windows[:: self.window]))
        hidden, cell = self._remember(vectors, memory)
        scores = np.maximum(hidden, 0) @ self._out + self._out_bias
        with np.errstate(over="ignore"):  # exp is infinite there: the probability is 0
            scores = 1 / (1 + np.exp(-scores))
        return scores, Memory(heard[-self.context :], hidden[-1], cell)

    def _spectra(self, windows: Array) -> list[Array]:
        """Return a window's magnitudes, four of (n, bins), from (n, window + context)."""
        count, length = windows.shape
        size = len(self._basis)
        padded = np.empty((count, length + size // 4), np.float32)
        padded[:, :length] = windows
        padded[:, length:] = windows[:, -2 : -2 - size // 4 : -1]  # mirrored
        starts = range(0, SPECTRA * size // 2, size // 2)
        return [self._magnitude(padded[:, start : start + size]) for start in starts]

    def _magnitude(self, frames: Array) -> Array:
        parts = frames @ self._basis  # real parts, then imaginary ones
        np.square(parts, out=parts)
        bins = parts.shape[1] // 2
        magnitude: Array = np.sqrt(parts[:, :bins] + parts[:, bins:])
        return magnitude

    def _encode(self, places: Sequence[Array]) -> Array:
        """Turn four spectra of n windows, each (n, bins), into vectors (n, HIDDEN)."""
        for stride, kernel, bias in zip(STRIDES, self._kernels, self._biases, strict=True):
            places = [
                _convolve(places, centre, kernel, bias) for centre in range(0, len(places), stride)
            ]
        [vectors] = places
        return vectors

    def _remember(self, vectors: Array, memory: Memory) -> tuple[Array, Array]:
        """Run the recurrent part (an LSTM) in order: hidden states (n, HIDDEN), the last cell.

        A loop over short arrays: results are written in place, which halves its time.
        """
        inputs = vectors @ self._of_input + self._gate_bias
        hidden = np.empty_like(vectors)
        cell, state = memory.cell.copy(), memory.hidden
        new, gates = np.empty_like(cell), np.empty_like(self._gate_bias)
        take, keep, value, show = np.split(gates, 4)  # views
        with np.errstate(over="ignore"):
            for given, out in zip(inputs, hidden, strict=True):
                np.dot(state, self._of_state, out=gates)
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


class Memory:
    """What the network remembers between two stretches of one recording.

    Args:
        tail: The last samples, shape (context,).
        hidden: Last output of the recurrent part, shape (HIDDEN,).
        cell: Its long memory, shape (HIDDEN,).
    """

    __slots__ = ("cell", "hidden", "tail")

    def __init__(self, tail: Samples, hidden: Array, cell: Array) -> None:
        self.tail = tail
        self.hidden = hidden
        self.cell = cell


@functools.cache
def load(sample_rate: int) -> Silero:
    """Return the network for a sample rate; it is loaded once."""
    return Silero(sample_rate)


def _convolve(places: Sequence[Array], centre: int, kernel: Array, bias: Array) -> Array:
    """Convolve at one place, with what stands beside it; beyond the ends is nothing."""
    reach = range(max(0, centre - 1), min(len(places), centre + 2))
    total = bias + sum(places[place] @ kernel[place - centre + 1] for place in reach)
    result: Array = np.maximum(total, 0, out=total)
    return result


def _columns(matrix: Array) -> Array:
    """Transpose the last two axes, laid out so that vectors can be multiplied from the left."""
    return np.ascontiguousarray(matrix.swapaxes(-1, -2))

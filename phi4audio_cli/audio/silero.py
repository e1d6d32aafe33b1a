"""Silero's voice activity network in numpy, over many windows per call, and its weights.

The silero-vad package computes one 32 ms window per call, with torch. Only the recurrent layer
needs the windows in order; the layers before it are matrix products over many windows. This gives
the same probabilities several times faster, and without torch in the process.

Based on silero-vad 6 (MIT); the weights are read from its installed file.
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

CONV_STRIDES = (1, 2, 2, 1)
"""Strides of the four convolutions, which reduce 4 spectra of a window to one vector."""

SPECTRA_PER_WINDOW = 4
"""Spectra of a window; each begins half a frame after the one before."""

HIDDEN_SIZE = 128
"""Size of the recurrent state."""

GATE_SCALES = np.repeat(np.array([-1, -1, -2, -1], np.float32), HIDDEN_SIZE)
"""Factors of the gates' weights, so that one call computes all four gates: with x negated,
1 / (1 + exp(x)) is the sigmoid, and tanh(x) = 2 sigmoid(2x) - 1."""


def window_length(sample_rate: int) -> int:
    """Return the window's length in samples: 512 at 16 kHz, 256 at 8 kHz."""
    return 256 if sample_rate == NARROW_BAND else 512


class SileroNetwork:
    """The network for one sample rate; the caller keeps the recurrent state.

    Args:
        sample_rate: WIDE_BAND or NARROW_BAND, Hz.

    Raises:
        ModelError: silero-vad is not installed.
    """

    def __init__(self, sample_rate: int) -> None:
        self.window = window_length(sample_rate)
        self.context = self.window // 8
        """Samples before a window that are part of its input."""
        weights = read_weights(sample_rate)
        self._basis = _transposed(weights["stft.forward_basis_buffer"][:, 0])
        names = [f"encoder.{index}.reparam_conv" for index in range(len(CONV_STRIDES))]
        # One matrix for each of the three positions of a convolution's kernel.
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
        """Return the state before a recording's first sample."""
        zeros = np.zeros(HIDDEN_SIZE, np.float32)
        return RecurrentState(np.zeros(self.context, np.float32), zeros, zeros)

    def forward(self, samples: Samples, state: RecurrentState) -> tuple[Array, RecurrentState]:
        """Compute the probability of speech in each window.

        Args:
            samples: Whole windows, shape (windows * window,).
            state: State after the samples before.

        Returns:
            Probabilities, shape (windows,), and the state after these samples.
        """
        padded = np.concatenate([state.context, samples])
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.window + self.context)
        vectors = self._encode(self._spectra(windows[:: self.window]))
        hidden, cell = self._lstm(vectors, state)
        scores = np.maximum(hidden, 0) @ self._output_weights + self._output_bias
        with np.errstate(over="ignore"):  # exp is infinite there: the probability is 0
            scores = 1 / (1 + np.exp(-scores))
        return scores, RecurrentState(padded[-self.context :], hidden[-1], cell)

    def _spectra(self, windows: Array) -> list[Array]:
        """Return four magnitude spectra of (n, bins) from windows of (n, window + context)."""
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
        """Encode four spectra of (n, bins) as vectors of shape (n, HIDDEN_SIZE)."""
        for stride, kernel, bias in zip(CONV_STRIDES, self._kernels, self._biases, strict=True):
            frames = [
                _convolve(frames, centre, kernel, bias) for centre in range(0, len(frames), stride)
            ]
        [vectors] = frames
        return vectors

    def _lstm(self, vectors: Array, previous: RecurrentState) -> tuple[Array, Array]:
        """Run the LSTM: hidden states of shape (n, HIDDEN_SIZE), and the last cell state.

        The loop writes its results in place, which halves its time.
        """
        inputs = vectors @ self._input_weights + self._gate_bias
        hidden = np.empty_like(vectors)
        cell, state = previous.cell.copy(), previous.hidden
        new, gates = np.empty_like(cell), np.empty_like(self._gate_bias)
        input_gate, forget_gate, candidate, output_gate = np.split(gates, 4)  # views
        with np.errstate(over="ignore"):
            for given, out in zip(inputs, hidden, strict=True):
                np.dot(state, self._state_weights, out=gates)
                np.add(gates, given, out=gates)
                np.exp(gates, out=gates)
                np.add(gates, 1, out=gates)
                np.reciprocal(gates, out=gates)
                # cell = forget_gate * cell + input_gate * (2 * candidate - 1)
                np.multiply(cell, forget_gate, out=cell)
                np.add(candidate, candidate, out=candidate)
                np.subtract(candidate, 1, out=candidate)
                np.multiply(input_gate, candidate, out=new)
                np.add(cell, new, out=cell)
                np.tanh(cell, out=new)
                state = np.multiply(output_gate, new, out=out)
        return hidden, cell


class RecurrentState:
    """The network's state between two calls for one recording.

    Args:
        context: The last samples, shape (context,).
        hidden: Last output of the LSTM, shape (HIDDEN_SIZE,).
        cell: Cell state of the LSTM, shape (HIDDEN_SIZE,).
    """

    __slots__ = ("cell", "context", "hidden")

    def __init__(self, context: Samples, hidden: Array, cell: Array) -> None:
        self.context = context
        self.hidden = hidden
        self.cell = cell


@functools.cache
def load(sample_rate: int) -> SileroNetwork:
    """Return the network for a sample rate; it is loaded once."""
    return SileroNetwork(sample_rate)


def _convolve(frames: Sequence[Array], centre: int, kernel: Array, bias: Array) -> Array:
    """Convolve at one position, with a kernel of three and zero padding; then apply ReLU."""
    positions = range(max(0, centre - 1), min(len(frames), centre + 2))
    total = bias + sum(frames[each] @ kernel[each - centre + 1] for each in positions)
    result: Array = np.maximum(total, 0, out=total)
    return result


def _transposed(matrix: Array) -> Array:
    """Transpose the last two axes, contiguous in memory for products with row vectors."""
    return np.ascontiguousarray(matrix.swapaxes(-1, -2))


Weights = Mapping[str, npt.NDArray[np.float32]]


def read_weights(sample_rate: int) -> Weights:
    """Return the weights of the network for a sample rate, by name.

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

    Importing silero-vad would limit torch to one thread in the whole process.
    """
    for path in _weight_files():
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit announces its removal
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

"""The weights of Silero's network, read from where silero-vad is installed."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from phi4audio_cli.errors import ModelError
from phi4audio_cli.types import NARROW_BAND

Weights = Mapping[str, npt.NDArray[np.float32]]


def weights(sample_rate: int) -> Weights:
    """Return the weights of the network for a sample rate, by their names.

    Raises:
        ModelError: silero-vad is not installed.
    """
    prefix = "_model_8k." if sample_rate == NARROW_BAND else "_model."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in _all_weights().items()
        if name.startswith(prefix)
    }


@functools.cache
def _all_weights() -> Weights:
    """Read the weights from silero-vad's file without importing silero-vad.

    Its import would set torch to one thread, for the whole process.
    """
    for path in _files():
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


def _files() -> Iterator[Path]:
    spec = importlib.util.find_spec("silero_vad")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "data" / "silero_vad.jit"
        if path.is_file():
            yield path

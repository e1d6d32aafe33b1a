"""What an audio-only model must have by its configuration: names and shapes, no memory."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from phi4audio_cli.checkpoint.layout import TIED, is_vision
from phi4audio_cli.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Expected:
    """The tensors of the audio-only model, in the order of transformers' class."""

    shapes: Mapping[str, tuple[int, ...]]
    """By native name; parameters and stored buffers; a tied output head is left out."""
    parameters: int
    """Number of parameters, a tied output head counted once, buffers not counted."""
    vision_parameters: int
    """Parameters of vision that transformers' class still builds with this configuration."""


def expected_tensors(config: Mapping[str, Any], where: str) -> Expected:
    """Builds transformers' class on the meta device and lists its tensors without vision.

    Args:
        config: Native configuration.
        where: The checkpoint, for the message.

    Raises:
        CheckpointError: transformers refuses the configuration.
    """
    # 3.5 s to import, and not needed to find or download a checkpoint.
    from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM
    from transformers.initialization import no_init_weights

    # A copy, because transformers adds to the dictionaries it is given.
    own = copy.deepcopy(dict(config))
    try:
        with _quiet(), torch.device("meta"), no_init_weights():
            model = Phi4MultimodalForCausalLM(Phi4MultimodalConfig(**own))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"its configuration is refused: {reason}", where) from error
    tied = bool(config.get("tie_word_embeddings", False))
    shapes = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not is_vision(name) and not (tied and name == TIED)
    }
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    vision = sum(size for name, size in sizes.items() if is_vision(name))
    return Expected(shapes, sum(sizes[name] for name in shapes if name in sizes), vision)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' advice on how a published config could be written to itself."""
    import logging as levels

    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(levels.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)

"""From a checkpoint's stream of tensors to a network on its device.

The network is built without memory and filled tensor by tensor, so nothing is held twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch
from accelerate.utils import set_module_tensor_to_device
from transformers import Phi4MultimodalConfig
from transformers.initialization import no_init_weights
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import (
    Phi4MultimodalRotaryEmbedding,
)

from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.model.placement import Placement
from phi4audio_cli.model.quantize import Quantization


def build(config: Mapping[str, Any], attention: str) -> Phi4AudioForCausalLM:
    """Build the network on the meta device: names and shapes, no memory.

    Args:
        config: Native configuration, as `Phi4MultimodalConfig` takes it.
        attention: Of the decoder. The encoder adds a position bias to its scores, which flash
            attention can't; it runs on sdpa unless eager is asked for.
    """
    # transformers changes nested dictionaries in place.
    native = Phi4MultimodalConfig(**deepcopy(dict(config)))
    window = native.sliding_window
    if window is not None and window >= native.max_position_embeddings:
        native.sliding_window = None  # wider than any sequence: it hides nothing
    encoder_attention = "eager" if attention == "eager" else "sdpa"
    native._attn_implementation = {"": attention, "audio_config": encoder_attention}
    with torch.device("meta"), no_init_weights():
        model = Phi4AudioForCausalLM(native)
    model.tie_weights()
    model.eval()
    return model


def fill(
    model: Phi4AudioForCausalLM,
    tensors: Iterable[tuple[str, torch.Tensor]],
    dtype: torch.dtype,
    placement: Placement,
    quantized: Quantization | None = None,
) -> None:
    """Put weights into a network of the meta device.

    Args:
        model: As `build` makes it; afterwards it is ready to run.
        tensors: Name and value, one at a time; each is moved and let go before the next.
        dtype: Of the weights on the device.
        placement: Where each tensor goes.
        quantized: How the decoder's linear layers are stored; None: in `dtype`.

    Raises:
        CheckpointError: A tensor of the network was not among them.
    """
    for name, tensor in tensors:
        set_module_tensor_to_device(
            model, name, placement.device_of(name), value=tensor, dtype=dtype
        )
        if quantized and quantized.takes(name):
            quantized.apply(model, name)  # at once: no two wide layers are there together
    # Computed, not stored: its frequencies are made anew, on the device.
    rotary = Phi4MultimodalRotaryEmbedding(config=model.config)
    model.model.rotary_emb = rotary.to(placement.device)
    model.tie_weights()
    missing = [name for name, tensor in model.state_dict().items() if tensor.is_meta]
    if missing:
        raise CheckpointError(
            f"{len(missing)} tensors are missing, the first is {missing[0]}",
            remedy="get the checkpoint again",
        )
    model.requires_grad_(False)
    placement.dispatch(model)

"""From a checkpoint's stream of tensors to a network on its device.

The network is built without memory and filled tensor by tensor, so nothing is held twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.model.placement import Placement
from phi4audio_cli.model.quantization import Quantization
from phi4audio_cli.network.config import Config
from phi4audio_cli.network.cpu_kernels import pack
from phi4audio_cli.network.phi4 import Phi4Audio


def build(config: Mapping[str, Any], where: str = "config.json") -> Phi4Audio:
    """Build the network on the meta device: names and shapes, no memory.

    Args:
        config: Native configuration.
        where: Its file, for messages.

    Raises:
        CheckpointError: The configuration is damaged, or of another network.
    """
    with torch.device("meta"):
        return Phi4Audio(Config.from_dict(config, where)).eval()


def fill(
    network: Phi4Audio,
    tensors: Iterable[tuple[str, torch.Tensor]],
    dtype: torch.dtype,
    placement: Placement,
    quantization: Quantization | None = None,
) -> None:
    """Put weights into a network of the meta device, each laid out as the device multiplies it.

    Args:
        network: As `build` makes it; afterwards it is ready to run.
        tensors: Name and value, one at a time; each is moved and freed before the next.
        dtype: Of the weights on the device.
        placement: Where each tensor goes.
        quantization: How the decoder's linear layers are stored; None: in `dtype`.

    Raises:
        CheckpointError: A tensor of the network was not among them.
    """
    for name, tensor in tensors:
        device = placement.device_of(name)
        set_tensor(network, name, tensor.to(device, dtype))
        if quantization and quantization.takes(name):
            quantization.apply(network, name)  # at once: no two wide layers are there together
    network.tie_weights()
    missing = [name for name, tensor in network.state_dict().items() if tensor.is_meta]
    if missing:
        raise CheckpointError(
            f"{len(missing)} tensors are missing, the first is {missing[0]}",
            remedy="get the checkpoint again",
        )
    network.requires_grad_(False)
    if placement.device.type == "cpu":
        pack_all(network)
    placement.offload(network)


def pack_all(network: Phi4Audio) -> None:
    """Pack all layers that oneDNN multiplies, but not a head that shares its weight."""
    shared = "lm_head" if network.config.tie_word_embeddings else None
    for name, _ in list(network.named_modules()):
        if name != shared:
            pack(network, name)


def set_tensor(network: nn.Module, name: str, value: torch.Tensor) -> None:
    """Replace a parameter or buffer by its name in the network."""
    path, _, own_name = name.rpartition(".")
    module = network.get_submodule(path)
    if own_name in module._buffers:
        module.register_buffer(own_name, value)
    else:
        module.register_parameter(own_name, nn.Parameter(value, requires_grad=False))

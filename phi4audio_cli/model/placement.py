"""Placement of the weights: all on the device, or some decoder layers in the CPU's memory."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import psutil
import torch
from torch import nn

from phi4audio_cli.errors import ModelError
from phi4audio_cli.model.quantization import Quantization
from phi4audio_cli.network.offload import OffloadedLayer
from phi4audio_cli.network.phi4 import Phi4Audio

RESERVED_SHARE = 0.15
"""Share of a device's free memory that is left for activations and the KV cache."""

LAYER = re.compile(r"model\.layers\.(\d+)\.")
"""Names of the tensors of a decoder layer."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The device of each tensor.

    Most of the weights are in the decoder's layers, which all have the same size, so only layers
    are offloaded, the last ones first.
    """

    device: torch.device
    num_layers: int
    num_on_device: int
    """Layers on the device."""

    @property
    def offloads(self) -> bool:
        """Whether some layers are in the CPU's memory."""
        return self.num_on_device < self.num_layers

    def device_of(self, name: str) -> torch.device:
        """Return the device of a tensor."""
        layer = LAYER.match(name)
        if layer and int(layer.group(1)) >= self.num_on_device:
            return torch.device("cpu")
        return self.device

    def offload(self, network: Phi4Audio) -> None:
        """Have each layer on the CPU copy its weights to the device whenever it runs."""
        layers = network.model.layers
        for index in range(self.num_on_device, self.num_layers):
            layers[index] = OffloadedLayer(layers[index], self.device)

    def notice(self) -> str | None:
        """Return one line for the user where not everything fits the device."""
        if not self.offloads:
            return None
        away = self.num_layers - self.num_on_device
        return (
            f"the weights don't fit {self.device}: {away} of {self.num_layers} decoder layers stay"
            " in the CPU's memory, which is slower"
        )


def plan_placement(
    network: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    quantization: Quantization | None = None,
) -> Placement:
    """Choose the device of each weight of a network on the meta device.

    Raises:
        ModelError: They don't fit this machine, or quantized ones don't fit the device.
    """
    sizes = _sizes(network, dtype, quantization)
    placement = split_layers(sizes, device, free_memory(device), free_memory(None))
    if quantization and placement.offloads:
        # Quantized layers are packed for one kind of device, so they can't be copied to another.
        remedy = "free some, or leave out --quantize: then layers can stay in the CPU's memory"
        raise _too_large(sum(sizes), free_memory(device), str(device), remedy)
    return placement


def split_layers(
    sizes: list[int], device: torch.device, free_on_device: int, free_on_cpu: int
) -> Placement:
    """Choose how many layers are on the device.

    Args:
        sizes: Bytes of each decoder layer, and last the bytes of everything else.
        device: Device of the network.
        free_on_device: Bytes.
        free_on_cpu: Bytes.

    Raises:
        ModelError: The weights don't fit.
    """
    *layers, rest = sizes
    if device.type != "cuda":
        _require(sum(sizes), free_on_device, f"the {device.type}'s memory")
        return Placement(device, len(layers), len(layers))
    room = int(free_on_device * (1 - RESERVED_SHARE)) - rest
    if sum(layers) <= room:
        return Placement(device, len(layers), len(layers))
    # One layer less than fits: an offloaded layer needs the room while it runs.
    count = max(0, room // max(layers) - 1)
    _require(rest + max(layers), int(free_on_device * (1 - RESERVED_SHARE)), f"{device}")
    _require(sum(layers[count:]), free_on_cpu, "the CPU's memory")
    return Placement(device, len(layers), count)


def total_bytes(network: nn.Module, dtype: torch.dtype, quantization: Quantization | None) -> int:
    """Return the bytes that the weights of a network take on its device."""
    return sum(_sizes(network, dtype, quantization))


def free_memory(device: torch.device | None) -> int:
    """Return the free bytes of a GPU, or of the machine for any other device."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _sizes(network: nn.Module, dtype: torch.dtype, quantization: Quantization | None) -> list[int]:
    """Return the bytes of each decoder layer, and last of the rest; tied weights count once."""
    sizes: dict[str, int] = defaultdict(int)
    for name, weight in network.named_parameters():
        layer = LAYER.match(name)
        size = weight.numel() * dtype.itemsize
        if quantization:
            size = quantization.bytes_of(name, weight.shape, dtype)
        sizes[layer.group(1) if layer else ""] += size
    rest = sizes.pop("", 0)
    return [*sizes.values(), rest]


def _require(needed: int, free: int, where: str) -> None:
    if needed > free:
        remedy = "free some memory, take --dtype bfloat16, --quantize int8, or another --device"
        raise _too_large(needed, free, where, remedy)


def _too_large(needed: int, free: int, where: str, remedy: str) -> ModelError:
    return ModelError(
        f"the weights need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free", where, remedy
    )

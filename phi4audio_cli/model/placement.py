"""What lies where: all weights on the device, or some decoder layers on the CPU beside it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import psutil
import torch
from accelerate import dispatch_model
from torch import nn

from phi4audio_cli.errors import ModelError
from phi4audio_cli.model.quantize import Quantization

RESERVED_SHARE = 0.15
"""Share of a device's free memory left for activations and the key/value cache."""

ON_DEVICE = (
    "model.embed_tokens",
    "model.embed_tokens_extend",
    "model.norm",
    "model.rotary_emb",
    "lm_head",
)
"""Everything but the decoder's layers."""

LAYER = re.compile(r"model\.layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Placement:
    """The device of each tensor.

    The decoder's layers are the bulk and alike, so only they are ever moved away, last first.
    """

    device: torch.device
    layers: int
    layers_on_device: int

    @property
    def split(self) -> bool:
        """Whether some layers lie on the CPU."""
        return self.layers_on_device < self.layers

    def device_of(self, name: str) -> torch.device:
        """Where a tensor lies."""
        layer = LAYER.match(name)
        if layer and int(layer.group(1)) >= self.layers_on_device:
            return torch.device("cpu")
        return self.device

    def dispatch(self, model: nn.Module) -> None:
        """Have accelerate bring the layers on the CPU to the device when their turn comes."""
        if not self.split:
            return
        places: dict[str, str | torch.device] = dict.fromkeys(ON_DEVICE, self.device)
        for index in range(self.layers):
            name = f"model.layers.{index}"
            places[name] = self.device_of(f"{name}.") if index < self.layers_on_device else "cpu"
        dispatch_model(model, places, main_device=self.device, force_hooks=True)

    def note(self) -> str | None:
        """One line for the user where not everything fits the device."""
        if not self.split:
            return None
        away = self.layers - self.layers_on_device
        return (
            f"the weights don't fit {self.device}: {away} of {self.layers} decoder layers stay"
            " in the CPU's memory, which is slower"
        )


def place(
    model: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    quantized: Quantization | None = None,
) -> Placement:
    """Decide where the weights of a network on the meta device will lie.

    Raises:
        ModelError: They don't fit this machine, or quantized ones don't fit the device.
    """
    sizes = _sizes(model, dtype, quantized)
    placement = plan(sizes, device, free_memory(device), free_memory(None))
    if quantized and placement.split:
        # Packed for one kind of device: a layer of the CPU's can't pass through a GPU.
        remedy = "free some, or leave out --quantize: then layers can stay in the CPU's memory"
        _refuse(sum(sizes), free_memory(device), str(device), remedy)
    return placement


def plan(
    sizes: list[int], device: torch.device, free_on_device: int, free_on_cpu: int
) -> Placement:
    """Decide by numbers.

    Args:
        sizes: Bytes of each decoder layer, and last the bytes of all else.
        device: Where the network runs.
        free_on_device: Bytes.
        free_on_cpu: Bytes.

    Raises:
        ModelError: The weights don't fit.
    """
    *layers, rest = sizes
    if device.type != "cuda":
        _demand(sum(sizes), free_on_device, f"the {device.type}'s memory")
        return Placement(device, len(layers), len(layers))
    room = int(free_on_device * (1 - RESERVED_SHARE)) - rest
    # One more layer must fit than lie there: a layer of the CPU's passes through.
    if sum(layers) <= room:
        return Placement(device, len(layers), len(layers))
    count = max(0, room // max(layers) - 1)
    _demand(rest + max(layers), int(free_on_device * (1 - RESERVED_SHARE)), f"{device}")
    _demand(sum(layers[count:]), free_on_cpu, "the CPU's memory")
    return Placement(device, len(layers), count)


def _demand(needed: int, free: int, where: str) -> None:
    if needed > free:
        remedy = "free some memory, take --dtype bfloat16, --quantize int8, or another --device"
        _refuse(needed, free, where, remedy)


def _refuse(needed: int, free: int, where: str, remedy: str) -> None:
    raise ModelError(
        f"the weights need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free", where, remedy
    )


def total_bytes(model: nn.Module, dtype: torch.dtype, quantized: Quantization | None) -> int:
    """Return the bytes that the weights of a network will take."""
    return sum(_sizes(model, dtype, quantized))


def _sizes(model: nn.Module, dtype: torch.dtype, quantized: Quantization | None) -> list[int]:
    """Bytes of each decoder layer, and last of all else; a shared weight counts once."""
    each: dict[str, int] = defaultdict(int)
    for name, weight in model.named_parameters():
        layer = LAYER.match(name)
        size = weight.numel() * dtype.itemsize
        if quantized:
            size = quantized.bytes_of(name, weight.shape, dtype)
        each[layer.group(1) if layer else ""] += size
    rest = each.pop("", 0)
    return [*each.values(), rest]


def free_memory(device: torch.device | None) -> int:
    """Return the free bytes of a GPU's memory, or of the machine's for all else."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)

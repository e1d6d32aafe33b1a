"""Weights of 8 or 4 bits in the decoder's linear layers, one at a time while loading.

Embeddings, the head that shares their weight, norms and the encoder stay as they are. The numbers
and the layers of a GPU are torchao's; the CPU computes with torch's own kernels
(`network.quantized_linear`).
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from phi4audio_cli.errors import CheckpointError, ModelError
from phi4audio_cli.network.quantized_linear import GROUP, MIDDLE, Int4Linear, Int8Linear

DECODER_LINEAR = re.compile(
    r"model\.layers\.\d+\.(self_attn\.(qkv|o)_proj|mlp\.(gate_up|down)_proj)\.weight"
)
"""Names of the weights that are quantized."""

FLOAT32_SHARE = {"int8": 1 / 4, "int4": (1 / 2 + 4 / GROUP) / 4}
"""Bytes of a quantized weight to those of a float32."""

CPU_ROWS = 16
"""The 4-bit kernel of the CPU takes outputs in so many."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the decoder's linear layers are stored."""

    kind: Literal["int8", "int4"]

    @classmethod
    def of(cls, wanted: str, device: torch.device, dtype: torch.dtype) -> Quantization | None:
        """Return the quantization for a value of `--quantize`; None for `none`.

        Raises:
            ModelError: No such kind, it can't be had on this device, or torchao is missing.
        """
        if wanted == "none":
            return None
        if wanted not in ("int8", "int4"):
            raise ModelError(f"invalid value {wanted!r}", "--quantize", "none, int8 or int4")
        if device.type not in ("cpu", "cuda"):
            raise ModelError(
                f"{wanted} weights don't run on {device.type}",
                where="--quantize",
                remedy="they do on the CPU (--device cpu) and on NVIDIA GPUs",
            )
        if wanted == "int4" and device.type == "cuda":
            _demand_tensor_cores(device, dtype)
        torchao()
        return cls("int8" if wanted == "int8" else "int4")

    def takes(self, name: str) -> bool:
        """Whether a tensor of the network is one of those that are quantized."""
        return DECODER_LINEAR.fullmatch(name) is not None

    def bytes_of(self, name: str, shape: torch.Size, dtype: torch.dtype) -> int:
        """Return the bytes that a tensor takes once it is stored."""
        count = shape.numel()
        if not self.takes(name):
            return count * dtype.itemsize
        if self.kind == "int8":
            return count + 6 * shape[0]  # a float32 scale and a bfloat16 one for each output
        return count // 2 + 4 * count // GROUP  # bfloat16 scale and zero point for each group

    def apply(self, network: nn.Module, name: str) -> None:
        """Quantize a weight that was just put on its device; the wide one is freed.

        Raises:
            CheckpointError: Its shape doesn't fit the kernels.
        """
        path = name.removesuffix(".weight")
        linear = network.get_submodule(path)
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"{path} is not a linear layer")
        if self.kind == "int4":
            _check_shape(name, linear)
        if linear.weight.device.type == "cuda":
            quantize_by_torchao(self.kind, linear)
            return
        module = to_int8(linear.weight) if self.kind == "int8" else to_int4(linear.weight)
        network.set_submodule(path, module)


def float32_equivalent(wanted: str, config: Mapping[str, Any], parameters: int) -> int:
    """Return how many float32 weights take the memory of a checkpoint's weights in float32.

    Args:
        wanted: `none`, `int8` or `int4`.
        config: Native configuration.
        parameters: Weights of the checkpoint.
    """
    if wanted not in FLOAT32_SHARE:
        return parameters
    width, head = config["hidden_size"], config["hidden_size"] // config["num_attention_heads"]
    attention = 2 * width * (width + head * config["num_key_value_heads"])
    layer = attention + 3 * width * config["intermediate_size"]
    linear: int = config["num_hidden_layers"] * layer
    return parameters - linear + round(FLOAT32_SHARE[wanted] * linear)


def parameter_count(network: nn.Module) -> int:
    """Return how many weights a network has, however they are stored."""
    stored = sum(weight.numel() for weight in network.parameters())
    packed = (each for each in network.modules() if isinstance(each, Int8Linear | Int4Linear))
    return stored + sum(each.in_features * each.out_features for each in packed)


def weight_bytes(network: nn.Module) -> int:
    """Return the bytes of a network's weights as they are stored, scales included."""
    stored = sum(_stored_bytes(weight) for weight in network.parameters())
    packed = (each for each in network.modules() if isinstance(each, Int8Linear | Int4Linear))
    return stored + sum(buffer.nbytes for each in packed for buffer in each.buffers())


def torchao() -> Any:
    """Import torchao's quantization.

    Raises:
        ModelError: It isn't installed, or doesn't go with this torch.
    """
    # It warns of GPU kernels that aren't used here, and torch of its way to register enums.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        return importlib.import_module("torchao.quantization")
    except ImportError as error:
        raise ModelError(
            f"needs the torchao package: {error}",
            where="--quantize",
            remedy="pip install 'phi4audio[quantize]'",
        ) from error


def quantize_by_torchao(kind: str, linear: nn.Linear) -> None:
    """Give a layer one of torchao's weights, which bring their own product: for a GPU."""
    ao = torchao()
    # Settings of torch.compile stay as they are: they are the whole process's.
    if kind == "int8":
        config = ao.Int8WeightOnlyConfig(set_inductor_config=False, version=2)
    else:
        config = ao.Int4WeightOnlyConfig(
            group_size=GROUP,
            int4_packing_format="tile_packed_to_4d",
            set_inductor_config=False,
            version=2,
        )
    ao.quantize_(linear, config)


def to_int8(weight: torch.Tensor) -> Int8Linear:
    """Quantize a weight to 8 bits with a scale for each output: for a CPU."""
    ao = torchao()
    found = ao.Int8Tensor.from_hp(weight.detach(), granularity=ao.PerRow())
    return Int8Linear(found.qdata, found.scale.flatten())


def to_int4(weight: torch.Tensor) -> Int4Linear:
    """Quantize a weight to 4 bits with a scale and a zero point for each group: for a CPU."""
    ao = torchao()
    wide = weight.detach().float()
    limits = {"quant_min": 0, "quant_max": 15}
    scales, points = ao.choose_qparams_affine(
        wide,
        ao.MappingType.ASYMMETRIC,
        (1, GROUP),
        torch.uint8,
        scale_dtype=torch.bfloat16,
        keepdim=True,
        **limits,
    )
    values = ao.quantize_affine(wide, (1, GROUP), scales.float(), points, torch.uint8, **limits)
    zeros = (MIDDLE - points) * scales.float()
    return Int4Linear(values.int(), scales, zeros.bfloat16())


def _demand_tensor_cores(device: torch.device, dtype: torch.dtype) -> None:
    if dtype != torch.bfloat16 or torch.cuda.get_device_capability(device) < (8, 0):
        raise ModelError(
            "int4 weights need bfloat16 and a GPU of the Ampere generation or newer",
            where="--quantize",
            remedy="--quantize int8, or --dtype bfloat16 where the GPU is new enough",
        )


def _check_shape(name: str, linear: nn.Linear) -> None:
    if linear.in_features % GROUP or linear.out_features % CPU_ROWS:
        raise CheckpointError(
            f"{linear.out_features} x {linear.in_features} weights can't be stored in 4 bits",
            where=name,
            remedy="--quantize int8",
        )


def _stored_bytes(weight: torch.Tensor) -> int:
    """Bytes of a plain tensor, or of those that one of torchao's is made of."""
    if not hasattr(weight, "tensor_data_names"):
        return weight.nbytes
    names = [*weight.tensor_data_names, *getattr(weight, "optional_tensor_data_names", ())]
    parts = (getattr(weight, name) for name in names)
    return sum(part.nbytes for part in parts if part is not None)

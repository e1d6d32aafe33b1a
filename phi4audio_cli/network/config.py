"""The network's configuration, read from a `config.json` of the native layout.

Names and defaults are those of transformers' `Phi4MultimodalConfig`, so every configuration that
its class reads gives the same network here. What this network does not implement is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from phi4audio_cli.errors import CheckpointError

REMEDY = "take the config.json of the published checkpoint"


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """Sizes of the audio encoder."""

    input_size: int = 80
    """Mel bands of a feature frame."""
    hidden_size: int = 1024
    intermediate_size: int = 1536
    num_blocks: int = 24
    num_attention_heads: int = 16
    kernel_size: int = 3
    """Frames that the depthwise convolution of a block covers."""
    depthwise_multiplier: int = 1
    nemo_conv_channels: int = 1024
    """Channels of the subsampling convolutions."""
    bias_max_distance: int = 1000
    """Frames; larger distances share the bias of this one."""
    bias_symmetric: bool = False

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def widest_layer(self) -> int:
        """Inputs of the widest linear layer of a block."""
        return max(self.hidden_size * self.depthwise_multiplier, self.intermediate_size)

    @property
    def nemo_final_size(self) -> int:
        """Bands that are left after the three strided convolutions."""
        size = self.input_size
        for _ in range(3):
            size = (size + 1) // 2
        return size


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Rotary position embedding: plain, or LongRoPE (https://arxiv.org/abs/2402.13753)."""

    theta: float = 10_000.0
    partial_rotary_factor: float = 1.0
    """Share of a head's channels that is rotated."""
    short_factor: tuple[float, ...] = ()
    """LongRoPE's divisors up to `short_context` positions; empty for the plain embedding."""
    long_factor: tuple[float, ...] = ()
    """The same beyond it."""
    short_context: int | None = None
    """Longest sequence with the short factors; None without LongRoPE."""
    factor: float = 1.0
    """How many times longer sequences may be than in pretraining."""
    attention_factor: float | None = None
    """Scale of the embedding; None: as LongRoPE's paper derives it from `factor`."""


@dataclass(frozen=True, slots=True)
class Config:
    """Sizes of the network."""

    vocab_size: int = 200_064
    hidden_size: int = 3072
    intermediate_size: int = 8192
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    rms_norm_eps: float = 1e-5
    max_position_embeddings: int = 131_072
    sliding_window: int | None = None
    """Most positions that a query attends to; None: no limit."""
    tie_word_embeddings: bool = False
    """Whether the output head has the weight of the token embedding."""
    eos_token_ids: tuple[int, ...] = (199_999, 200_020)
    rope: RopeConfig = RopeConfig()
    audio: AudioConfig = AudioConfig()

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def widest_layer(self) -> int:
        """Inputs of the widest linear layer of the decoder."""
        return max(self.hidden_size, self.intermediate_size)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], where: str = "config.json") -> Config:
        """Read a native configuration.

        Args:
            raw: The parsed `config.json`; it is left as it is.
            where: The file, for messages.

        Raises:
            CheckpointError: A value is missing, impossible, or not implemented.
        """
        read = _Reader(raw, where)
        read.refuse_other("hidden_act", "silu", "swish")
        heads = read.size("num_attention_heads", cls)
        config = cls(
            vocab_size=read.size("vocab_size", cls),
            hidden_size=read.size("hidden_size", cls),
            intermediate_size=read.size("intermediate_size", cls),
            num_hidden_layers=read.size("num_hidden_layers", cls),
            num_attention_heads=heads,
            num_key_value_heads=read.size("num_key_value_heads", cls, none=heads),
            rms_norm_eps=read.number("rms_norm_eps", 1e-5),
            max_position_embeddings=read.size("max_position_embeddings", cls),
            sliding_window=_window(read),
            tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
            eos_token_ids=_token_ids(read),
            rope=_rope(read),
            audio=_audio(_Reader(read.section("audio_config"), f"{where}: audio_config")),
        )
        _check_heads(config, where)
        return config


class _Reader:
    """Takes checked values out of a JSON object."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self.raw, self.where = raw, where

    def error(self, what: str) -> CheckpointError:
        return CheckpointError(what, self.where, REMEDY)

    def section(self, name: str) -> Mapping[str, Any]:
        """Return an object within the object, empty where it is missing."""
        found = self.raw.get(name)
        if found is not None and not isinstance(found, Mapping):
            raise self.error(f"{name} is {found!r}, not an object")
        return found or {}

    def size(self, name: str, owner: type[Any], none: int | None = None) -> int:
        """Return a positive integer, by default the one of `owner`, or `none` for null."""
        value = self.raw.get(name, _default(owner, name))
        if value is None and none is not None:
            return none
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(f"{name} is {value!r}, not a positive integer")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a positive number."""
        value = self.raw.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise self.error(f"{name} is {value!r}, not a positive number")
        return float(value)

    def refuse_other(self, name: str, *supported: object) -> None:
        """Refuse a setting that the network does not implement."""
        value = self.raw.get(name, supported[0])
        if value not in supported:
            raise self.error(f"{name} is {value!r}, and only {supported[0]!r} is supported")


def _default(owner: type[Any], name: str) -> Any:
    return next(each.default for each in fields(owner) if each.name == name)


def _window(read: _Reader) -> int | None:
    if read.raw.get("sliding_window") is None:
        return None
    window = read.size("sliding_window", Config)
    return window if window < read.size("max_position_embeddings", Config) else None


def _token_ids(read: _Reader) -> tuple[int, ...]:
    ids = read.raw.get("eos_token_id") or Config().eos_token_ids
    ids = [ids] if isinstance(ids, int) else ids
    if not isinstance(ids, Sequence) or not all(isinstance(each, int) for each in ids):
        raise read.error(f"eos_token_id is {ids!r}, not one or more token ids")
    return tuple(ids)


def _audio(read: _Reader) -> AudioConfig:
    for name in ("activation", "conv_activation", "conv_glu_type"):
        read.refuse_other(name, "swish", "silu")
    read.refuse_other("nemo_activation", "relu")
    read.refuse_other("time_reduction", 8)
    read.refuse_other("downsample_rate", 1)
    if read.raw.get("chunk_size", -1) > 0:
        raise read.error(f"chunk_size is {read.raw['chunk_size']}: streaming is not supported")
    sizes = {
        each.name: read.size(each.name, AudioConfig)
        for each in fields(AudioConfig)
        if each.name != "bias_symmetric"
    }
    for name in ("ext_pw_out_channel", "depthwise_separable_out_channel"):
        read.refuse_other(name, sizes["hidden_size"])
    return AudioConfig(**sizes, bias_symmetric=bool(read.raw.get("bias_symmetric", False)))


def _rope(read: _Reader) -> RopeConfig:
    """Read the position embedding from `rope_parameters`, or from its older spelling."""
    found = read.section("rope_scaling") or read.section("rope_parameters")
    outer = {"rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
    given = {name: read.raw.get(name, default) for name, default in outer.items()}
    inner = _Reader({**given, **found}, f"{read.where}: rope_parameters")
    theta, partial = inner.number("rope_theta", 0), inner.number("partial_rotary_factor", 0)
    kind = inner.raw.get("rope_type", inner.raw.get("type", "default"))
    if kind == "default":
        return RopeConfig(theta, partial)
    if kind not in ("longrope", "su", "yarn"):
        raise inner.error(f"rope_type is {kind!r}, and only 'default' and 'longrope' are supported")
    original = read.raw.get("original_max_position_embeddings")
    original = inner.raw.get("original_max_position_embeddings") if original is None else original
    switch = _Reader({"max_position_embeddings": original or 4096}, inner.where)
    short_context = switch.size("max_position_embeddings", Config)
    longest = read.size("max_position_embeddings", Config)
    scale = inner.raw.get("attention_factor")
    return RopeConfig(
        theta=theta,
        partial_rotary_factor=partial,
        short_factor=_factors(inner, "short_factor"),
        long_factor=_factors(inner, "long_factor"),
        short_context=short_context,
        factor=float(inner.raw.get("factor") or longest / short_context),
        attention_factor=None if scale is None else inner.number("attention_factor", 1.0),
    )


def _factors(read: _Reader, name: str) -> tuple[float, ...]:
    found = read.raw.get(name)
    if not isinstance(found, list | tuple) or not all(isinstance(x, int | float) for x in found):
        raise read.error(f"{name} is {found!r}, not a list of numbers")
    return tuple(map(float, found))


def _check_heads(config: Config, where: str) -> None:
    """Refuse widths that the heads don't divide, and factors that don't fit a head."""
    divisions = (
        (config.hidden_size, "hidden_size", config.num_attention_heads, "num_attention_heads"),
        (config.num_attention_heads, "num_attention_heads", config.num_key_value_heads,
         "num_key_value_heads"),
        (config.audio.hidden_size, "audio_config: hidden_size", config.audio.num_attention_heads,
         "num_attention_heads"),
    )  # fmt: skip
    for whole, whole_name, part, part_name in divisions:
        if whole % part:
            what = f"{whole_name} is {whole}, not a multiple of {part_name}, {part}"
            raise CheckpointError(what, where, REMEDY)
    pairs = int(config.head_dim * config.rope.partial_rotary_factor) // 2
    for name in ("short_factor", "long_factor"):
        count = len(getattr(config.rope, name))
        if config.rope.short_context is not None and count != pairs:
            what = f"{name} has {count} numbers, and a head rotates {pairs} pairs of channels"
            raise CheckpointError(what, f"{where}: rope_parameters", REMEDY)

"""Network sizes of random checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

VISION_DEFAULTS = {"hidden": 1152, "mlp": 4304, "layers": 27, "heads": 16}
VISION_STUB = {"hidden": 32, "mlp": 48, "layers": 2, "heads": 2}


@dataclass(frozen=True)
class NetworkSize:
    """The sizes of a network."""

    hidden: int
    heads: int
    kv_heads: int
    mlp: int
    layers: int
    encoder_hidden: int
    encoder_heads: int
    encoder_mlp: int
    encoder_blocks: int
    conv_channels: int
    vision: dict[str, int]
    speech_rank: int
    vision_rank: int
    vocabulary: int = 200_064

    def token_id(self, published: int) -> int:
        """Return the id of a published special token in this vocabulary, counted from its end."""
        return published - 200_064 + self.vocabulary


SIZES = {
    "full": NetworkSize(3072, 24, 8, 8192, 32, 1024, 16, 1536, 24, 1024, VISION_DEFAULTS, 320, 256),
    "mid": NetworkSize(1024, 16, 4, 2816, 24, 512, 8, 768, 12, 512, VISION_STUB, 32, 4, 32_064),
    "small": NetworkSize(32, 4, 2, 48, 2, 48, 4, 64, 2, 16, VISION_STUB, 6, 4),
}
"""The published model's size, one for two CPU cores, and one for tests."""

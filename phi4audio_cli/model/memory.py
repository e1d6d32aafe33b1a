"""What one long pass needs in memory, worked out before it starts.

The sum of what lies in memory at the same time, by the shapes of the network: the encoder's
activations first, then the decoder's key/value cache and activations (Phi-4 with 22,500 audio
positions in bfloat16: 2.9 GB of cache).
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import Phi4MultimodalConfig

from phi4audio_cli.model.encoder import WINDOW_FRAMES
from phi4audio_cli.model.subsampling import BLOCK_FRAMES

ENCODER_SECONDS = 40.0
"""What the encoder hears at once."""

FRAMES_PER_SECOND = 12.5
FEATURES_PER_FRAME = 8
TEXT_POSITIONS = 2048
"""Room for the instruction and the answer."""
FLOAT32 = 4
STEP_SECONDS = 10.0
"""Parts are shortened in steps of this."""


@dataclass(frozen=True, slots=True)
class PassCost:
    """Bytes that one row needs beside the weights."""

    cache_per_position: int
    decoder_per_position: int
    encoder_per_window: int
    encoder_once: int
    embeddings_per_position: int

    @classmethod
    def of(cls, config: Phi4MultimodalConfig, itemsize: int) -> PassCost:
        """Work the costs out from the sizes of a network whose numbers take `itemsize` bytes."""
        audio = config.audio_config
        head = config.hidden_size // config.num_attention_heads
        cache = 2 * config.num_key_value_heads * head * itemsize
        scores = audio.num_attention_heads * WINDOW_FRAMES**2
        mel = audio.input_size * FEATURES_PER_FRAME * FLOAT32
        widths = 6 * audio.intermediate_size + 8 * audio.hidden_size
        block = BLOCK_FRAMES * FEATURES_PER_FRAME * audio.input_size
        return cls(
            cache_per_position=cache * config.num_hidden_layers,
            # Gate and up together, their product, and the copies around attention; one layer's
            # cache is written anew with every token.
            decoder_per_position=(3 * config.intermediate_size + 8 * config.hidden_size) * itemsize
            + cache,
            encoder_per_window=WINDOW_FRAMES * (widths * itemsize + mel)
            + 2 * scores * max(itemsize, FLOAT32),
            # The first convolution halves time and mel bands; its output is there twice.
            encoder_once=2 * audio.nemo_conv_channels * block // 4 * itemsize,
            embeddings_per_position=3 * config.hidden_size * itemsize,
        )

    def bytes_for(self, seconds: float) -> int:
        """Return the most that a chunk of this length needs at any time."""
        frames = round(seconds * FRAMES_PER_SECOND)
        positions = frames + TEXT_POSITIONS
        encoder = self.encoder_once + -(-frames // WINDOW_FRAMES) * self.encoder_per_window
        decoder = positions * (self.cache_per_position + self.decoder_per_position)
        return max(encoder, decoder) + positions * self.embeddings_per_position

    def longest(self, wanted: float, free: float) -> float:
        """Return the longest chunk that fits.

        Args:
            wanted: Longest one asked for, in seconds.
            free: Bytes.

        Returns:
            Seconds: `wanted`, or less in whole steps, but at least what the encoder hears at once.
        """
        if self.bytes_for(wanted) <= free:
            return wanted
        steps = int(wanted // STEP_SECONDS)
        fitting = (n * STEP_SECONDS for n in range(steps, 0, -1))
        longest = next((each for each in fitting if self.bytes_for(each) <= free), 0.0)
        return min(wanted, max(longest, ENCODER_SECONDS))

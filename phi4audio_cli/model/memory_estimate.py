"""Memory that a long pass, or a batch of requests, needs in addition to the weights.

Both are sums of tensors that exist at the same time, by the shapes of the network. During a batch
three things stay: the KV cache, the audio embeddings of one encoder pass, and the prepared
requests. One pass at a time adds to them: the encoder, a prefill, a decode step, or the pass for
word times. A GPU's allocator gives a pass the memory of the one before. The C library keeps what a
pass on the CPU frees, in pieces that the next one can use only in part, so there the passes add up
(measured by `python -m benchmarks.batch_memory`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from phi4audio_cli.model.batch_decoder import (
    CAPACITY_STEP,
    MAX_PREFILL_TOKENS,
    MAX_PREFILL_TOKENS_CPU,
    MIN_GPU_CAPACITY,
)
from phi4audio_cli.model.batch_limit import max_waiting
from phi4audio_cli.model.encoder_cache import MAX_ENCODER_WINDOWS, MAX_ENCODER_WINDOWS_CPU
from phi4audio_cli.model.inputs import PREFETCHED_REQUESTS
from phi4audio_cli.model.placement import RESERVED_SHARE, free_memory, total_bytes
from phi4audio_cli.model.quantization import Quantization
from phi4audio_cli.network.config import Config
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.network.subsampling import BLOCK_FRAMES, CACHED_CHANNELS
from phi4audio_cli.types import (
    EMBEDDINGS_PER_SECOND,
    ENCODER_WINDOW_EMBEDDINGS,
    ENCODER_WINDOW_SECONDS,
    FEATURES_PER_EMBEDDING,
    FEATURES_PER_SECOND,
    WIDE_BAND,
)

FLOAT32_BYTES = 4

LONG_TEXT_POSITIONS = 2048
"""Positions of instruction and answer in a long pass."""

CHUNK_STEP_SECONDS = 10.0
"""Long chunks are shortened in steps of this."""

PROMPT_POSITIONS = 32
"""Positions of the instruction and the control tokens of a chunk's prompt."""

TRANSCRIPT_TOKENS = 664
"""Token budget of a transcript of 40 s."""

CPU_LIBRARY_BYTES = 25_000_000
"""On a CPU: the libraries' own buffers and code, allocated by the first pass."""

CPU_PREFILL_FACTOR = 2.5
"""On a CPU: memory that the C library takes for a prefill, in multiples of its tensors."""

MAX_BATCH_SIZE = 64
"""Largest batch size that `auto` takes. A step of six mid-size layers costs a CPU core 10 ms a row
with 8 rows, 5.9 ms with 16, 4.2 ms with 32 and 3.4 ms with 64 (benchmarks/decode_step_cost.py)."""

BATCH_MEMORY_SHARE = 0.8
"""Share of the free memory that `auto` plans with: audio decoders and other programs need some."""


@dataclass(frozen=True, slots=True)
class LongAudioCost:
    """Bytes that one long sequence needs in addition to the weights.

    Phi-4 with 22,500 audio positions in bfloat16 has 2.9 GB of KV cache.
    """

    cache_per_position: int
    decoder_per_position: int
    encoder_per_window: int
    encoder_once: int
    embeddings_per_position: int

    @classmethod
    def of(cls, config: Config, itemsize: int) -> LongAudioCost:
        """Compute the costs of a network whose numbers have `itemsize` bytes."""
        audio = config.audio
        layer_cache = 2 * config.num_key_value_heads * config.head_dim * itemsize
        scores = audio.num_attention_heads * ENCODER_WINDOW_EMBEDDINGS**2
        mel = audio.input_size * FEATURES_PER_EMBEDDING * FLOAT32_BYTES
        widths = 6 * audio.intermediate_size + 8 * audio.hidden_size
        block = BLOCK_FRAMES * FEATURES_PER_EMBEDDING * audio.input_size
        return cls(
            cache_per_position=layer_cache * config.num_hidden_layers,
            # Gate and up projections together, their product, and the copies around attention.
            decoder_per_position=(3 * config.intermediate_size + 8 * config.hidden_size) * itemsize
            + layer_cache,
            encoder_per_window=ENCODER_WINDOW_EMBEDDINGS * (widths * itemsize + mel)
            + 2 * scores * max(itemsize, FLOAT32_BYTES),
            # The first convolution halves time and mel bands; its output exists twice.
            encoder_once=2 * audio.nemo_conv_channels * block // 4 * itemsize,
            embeddings_per_position=3 * config.hidden_size * itemsize,
        )

    def peak(self, seconds: float) -> int:
        """Return the peak of a chunk of this length, in bytes."""
        frames = round(seconds * EMBEDDINGS_PER_SECOND)
        positions = frames + LONG_TEXT_POSITIONS
        windows = -(-frames // ENCODER_WINDOW_EMBEDDINGS)
        encoder = self.encoder_once + windows * self.encoder_per_window
        decoder = positions * (self.cache_per_position + self.decoder_per_position)
        return max(encoder, decoder) + positions * self.embeddings_per_position

    def longest(self, wanted: float, free: float) -> float:
        """Return the longest chunk that fits.

        Args:
            wanted: Longest one asked for, in seconds.
            free: Bytes.

        Returns:
            Seconds: `wanted`, or less in whole steps, but at least one encoder window.
        """
        if self.peak(wanted) <= free:
            return wanted
        steps = int(wanted // CHUNK_STEP_SECONDS)
        shorter = (n * CHUNK_STEP_SECONDS for n in range(steps, 0, -1))
        longest = next((seconds for seconds in shorter if self.peak(seconds) <= free), 0.0)
        return min(wanted, max(longest, ENCODER_WINDOW_SECONDS))


@dataclass(frozen=True, slots=True)
class BatchMemory:
    """Bytes that a batch of requests needs in addition to the weights.

    Args:
        config: Of the network.
        itemsize: Bytes of a number on the device.
        on_gpu: Whether the device is a GPU, where passes are larger.
    """

    config: Config
    itemsize: int
    on_gpu: bool

    def peak(self, rows: int, seconds: float, tokens: int, *, words: bool = True) -> int:
        """Return the peak of a batch.

        Args:
            rows: Running requests.
            seconds: Of audio in each chunk, at most one encoder window.
            tokens: Of each answer.
            words: Whether word times are found.
        """
        frames = math.ceil(seconds * EMBEDDINGS_PER_SECOND)
        prompt = frames + PROMPT_POSITIONS
        positions = prompt + tokens
        num_encoded = self._encoded_at_once(rows, frames)
        slot = max(positions, MIN_GPU_CAPACITY) if self.on_gpu else positions
        kept = rows * _round_up(slot, CAPACITY_STEP) * self.cache_per_position
        kept += num_encoded * frames * self.config.hidden_size * self.itemsize
        kept += self._prepared(rows + max_waiting(rows) + PREFETCHED_REQUESTS, seconds)
        passes = (
            self.encoder(num_encoded, frames),
            self.prefill(rows, prompt),
            self.decode(rows),
            self.alignment(tokens, frames) if words else 0,
        )
        return int(kept + (max(passes) if self.on_gpu else sum(passes) + CPU_LIBRARY_BYTES))

    def max_batch_size(self, free: float, seconds: float, tokens: int) -> int:
        """Return the largest batch size that fits `free` bytes, from 1 to `MAX_BATCH_SIZE`."""
        rows = MAX_BATCH_SIZE
        while rows > 1 and self.peak(rows, seconds, tokens) > free:
            rows -= 1
        return rows

    @property
    def cache_per_position(self) -> int:
        """Keys and values of all layers."""
        width = self.config.num_key_value_heads * self.config.head_dim
        return 2 * width * self.itemsize * self.config.num_hidden_layers

    def encoder(self, rows: int, frames: int) -> int:
        """Return the bytes of an encoder pass over chunks of so many frames of 80 ms."""
        audio = self.config.audio
        features = rows * frames * FEATURES_PER_EMBEDDING * audio.input_size
        features *= FLOAT32_BYTES + self.itemsize
        # The first convolution's output, at half the feature rate and half the bands, exists twice
        # on a GPU, which pads; the next one's has a quarter of it.
        bands = audio.input_size // 2
        at_once = BLOCK_FRAMES if self.on_gpu else CACHED_CHANNELS // audio.nemo_conv_channels
        block = min(rows * frames, at_once) * FEATURES_PER_EMBEDDING // 2 * bands
        block *= audio.nemo_conv_channels * self.itemsize
        block = 2 * block if self.on_gpu else block * 4 // 3
        flat = rows * frames * audio.nemo_conv_channels * audio.nemo_final_size * self.itemsize
        window = min(frames, ENCODER_WINDOW_EMBEDDINGS)
        bias = audio.num_attention_heads * window**2 * self.itemsize
        scores = rows * bias if self.on_gpu else 0
        wide = rows * frames * (4 * audio.intermediate_size + 4 * audio.hidden_size) * self.itemsize
        return int(features + max(block + flat, 2 * flat, 2 * bias + scores + wide))

    def prefill(self, rows: int, prompt: int) -> int:
        """Return the bytes of a prefill of prompts of so many positions."""
        limit = MAX_PREFILL_TOKENS if self.on_gpu else MAX_PREFILL_TOKENS_CPU
        num_prompts = max(1, min(rows, limit // prompt))
        wide = 4 * self.config.intermediate_size + 6 * self.config.hidden_size
        tensors = num_prompts * prompt * wide * self.itemsize
        return int(tensors * (1 if self.on_gpu else CPU_PREFILL_FACTOR)) + self._logits(num_prompts)

    def decode(self, rows: int) -> int:
        """Return the bytes of a decode step."""
        wide = 4 * self.config.intermediate_size + 6 * self.config.hidden_size
        return rows * wide * self.itemsize + self._logits(rows)

    def alignment(self, tokens: int, frames: int) -> int:
        """Return the bytes of the pass for word times: attention of one layer, one sequence."""
        heads, width = self.config.num_attention_heads, self.config.head_dim
        attention = (3 * heads * tokens * frames + heads * frames * width) * FLOAT32_BYTES
        return attention + tokens * 4 * self.config.intermediate_size * self.itemsize

    def _logits(self, rows: int) -> int:
        """Return the bytes of logits in the network's dtype, in float32, and exponentiated."""
        return rows * self.config.vocab_size * (self.itemsize + 2 * FLOAT32_BYTES)

    def _prepared(self, chunks: int, seconds: float) -> int:
        """Return the bytes of samples and features of chunks."""
        features = FEATURES_PER_SECOND * self.config.audio.input_size
        return int(chunks * seconds * (WIDE_BAND + features) * FLOAT32_BYTES)

    def _encoded_at_once(self, rows: int, frames: int) -> int:
        """Return the chunks of one encoder pass."""
        packed = MAX_ENCODER_WINDOWS_CPU * ENCODER_WINDOW_EMBEDDINGS // frames
        return max(1, min(rows, MAX_ENCODER_WINDOWS if self.on_gpu else packed))


def auto_batch_size(
    network: Phi4Audio,
    device: torch.device,
    dtype: torch.dtype,
    quantization: Quantization | None = None,
) -> int:
    """Return how many chunks of 40 s are answered at once (`--batch-size auto`).

    Args:
        network: Its weights are not loaded yet.
        device: Device for the weights.
        dtype: Of the computation.
        quantization: How the decoder's linear layers are stored; None: in `dtype`.
    """
    free = free_memory(device)
    # Where the weights don't fit, placement leaves a share for everything else.
    left = max(free - total_bytes(network, dtype, quantization), RESERVED_SHARE * free)
    memory = BatchMemory(network.config, dtype.itemsize, device.type == "cuda")
    share = BATCH_MEMORY_SHARE * left
    return memory.max_batch_size(share, ENCODER_WINDOW_SECONDS, TRANSCRIPT_TOKENS)


def _round_up(positions: int, step: int) -> int:
    return -(-positions // step) * step

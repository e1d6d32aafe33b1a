"""What answering many chunks at once needs in memory beside the weights, and how many fit.

Sums of what lies there at the same time, by the shapes of the network. Three things stay as long
as rows are under way: their keys and values, the audio embeddings of one row or group, and the
chunks that are prepared ahead. On top of them one pass works at a time: encoder, reading a prompt,
a step of all rows, or the pass that finds word times. A GPU's memory is used again by the next
pass, to the byte. The C library keeps what a pass on the CPU leaves, in pieces that the next one
can use in part only: there the passes add up (measured by `scripts/bench_memory.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from phi4audio_cli.model.decoder import RECORDED_SPAN_STEP
from phi4audio_cli.model.encoder import WINDOW_FRAMES
from phi4audio_cli.model.hearing import HEARD_ON_CPU, HEARD_TOGETHER
from phi4audio_cli.model.memory import ENCODER_SECONDS, FRAMES_PER_SECOND
from phi4audio_cli.model.placement import RESERVED_SHARE, free_memory, total_bytes
from phi4audio_cli.model.preparing import PREPARED
from phi4audio_cli.model.quantize import Quantization
from phi4audio_cli.model.serving import most_waiting
from phi4audio_cli.model.subsampling import BLOCK_FRAMES, CACHED_CHANNELS, SUBSAMPLING
from phi4audio_cli.model.writing import CAPACITY_STEP, GPU_CAPACITY, READ_ON_CPU, READ_TOGETHER
from phi4audio_cli.types import WIDE_BAND

FLOAT32 = 4
PROMPT_POSITIONS = 32
"""The instruction's tokens and the turns' marks."""

USUAL_TOKENS = 664
"""The budget of a transcript of 40 s."""

WORKING_BYTES = 25_000_000
"""On a CPU: the libraries' own buffers and code, which come with the first pass."""

CPU_READING = 2.5
"""Times what reading a prompt holds: what the C library takes for it."""

MOST_ROWS = 64
"""Most rows at once that `auto` takes. A step of six mid-size layers costs a CPU core 10 ms a row
with 8 rows, 5.9 ms with 16, 4.2 ms with 32 and 3.4 ms with 64 (`scripts/bench_rows.py`)."""

FREE_SHARE = 0.8
"""Share of the free memory that `auto` plans with: decoders and other programs take some, too."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that rows need beside the weights.

    Args:
        config: Of the network, `Phi4MultimodalConfig`.
        itemsize: Bytes of a number on the device.
        on_gpu: Whether that is a GPU, where more is done at once.
    """

    config: Any
    itemsize: int
    on_gpu: bool

    def peak(self, rows: int, seconds: float, tokens: int, *, words: bool = True) -> int:
        """Return the most that is there at any time.

        Args:
            rows: Under way at once.
            seconds: Of audio in each chunk, at most what the encoder hears at once.
            tokens: Of each answer.
            words: Whether word times are found.
        """
        frames = math.ceil(seconds * FRAMES_PER_SECOND)
        prompt = frames + PROMPT_POSITIONS
        positions = prompt + tokens
        together = self._heard_together(rows, frames)
        slot = max(positions, GPU_CAPACITY) if self.on_gpu else positions
        kept = rows * _upward(slot, CAPACITY_STEP) * self.cache_per_position
        kept += together * frames * self.config.hidden_size * self.itemsize
        kept += self._prepared(rows + most_waiting(rows) + PREPARED, seconds)
        passes = (
            self.encoder(together, frames),
            self.reading(rows, prompt),
            self.step(rows, positions),
            self.aligning(tokens, frames, positions) if words else 0,
        )
        return int(kept + (max(passes) if self.on_gpu else sum(passes) + WORKING_BYTES))

    def most_rows(self, free: float, seconds: float, tokens: int) -> int:
        """Return how many rows fit into so many bytes: at least 1, at most what pays."""
        rows = MOST_ROWS
        while rows > 1 and self.peak(rows, seconds, tokens) > free:
            rows -= 1
        return rows

    @property
    def cache_per_position(self) -> int:
        """Keys and values of all layers."""
        width = self.config.num_key_value_heads * self._head
        return int(2 * width * self.itemsize * self.config.num_hidden_layers)

    def encoder(self, rows: int, frames: int) -> int:
        """Return what the encoder takes for chunks of so many frames."""
        audio = self.config.audio_config
        features = rows * frames * SUBSAMPLING * audio.input_size * (FLOAT32 + self.itemsize)
        # The first layer's output, at half the feature rate and half the bands, lies there twice on
        # a GPU, which pads; the next layer's has a quarter of it.
        bands = audio.input_size // 2
        at_once = BLOCK_FRAMES if self.on_gpu else CACHED_CHANNELS // audio.nemo_conv_channels
        block = min(rows * frames, at_once) * SUBSAMPLING // 2 * bands
        block *= audio.nemo_conv_channels * self.itemsize
        block = 2 * block if self.on_gpu else block * 4 // 3
        flat = rows * frames * audio.nemo_conv_channels * audio.nemo_final_size * self.itemsize
        window = min(frames, WINDOW_FRAMES)
        bias = audio.num_attention_heads * window**2 * self.itemsize
        scores = rows * bias if self.on_gpu else 0
        wide = rows * frames * (4 * audio.intermediate_size + 4 * audio.hidden_size) * self.itemsize
        return int(features + max(block + flat, 2 * flat, 2 * bias + scores + wide))

    def reading(self, rows: int, prompt: int) -> int:
        """Return what reading prompts takes."""
        most = READ_TOGETHER if self.on_gpu else READ_ON_CPU
        together = max(1, min(rows, most // prompt))
        wide = 4 * self.config.intermediate_size + 6 * self.config.hidden_size
        held = together * prompt * wide * self.itemsize
        return int(held * (1 if self.on_gpu else CPU_READING)) + self._logits(together)

    def step(self, rows: int, positions: int) -> int:
        """Return what a step of all rows takes."""
        # One layer's keys and values, repeated for all query heads.
        span = _upward(positions, RECORDED_SPAN_STEP)
        repeated = 2 * rows * span * self.config.hidden_size
        return int(repeated * self.itemsize + self._logits(rows))

    def aligning(self, tokens: int, frames: int, positions: int) -> int:
        """Return what finding word times takes: of one row, the weights of a layer's heads."""
        heads = self.config.num_attention_heads
        weights = 3 * heads * tokens * frames * FLOAT32 + heads * frames * self._head * FLOAT32
        wide = tokens * 4 * self.config.intermediate_size + 2 * positions * self.config.hidden_size
        return int(weights + wide * self.itemsize)

    def _logits(self, rows: int) -> int:
        """As the head gives them, in float32, and their exponentials."""
        return int(rows * self.config.vocab_size * (self.itemsize + 2 * FLOAT32))

    def _prepared(self, chunks: int, seconds: float) -> int:
        """Samples and features of chunks."""
        features = FRAMES_PER_SECOND * SUBSAMPLING * self.config.audio_config.input_size
        return int(chunks * seconds * (WIDE_BAND + features) * FLOAT32)

    def _heard_together(self, rows: int, frames: int) -> int:
        """Chunks that the encoder takes at once."""
        most = HEARD_TOGETHER if self.on_gpu else HEARD_ON_CPU * WINDOW_FRAMES // frames
        return max(1, min(rows, most))

    @property
    def _head(self) -> int:
        head: int = self.config.hidden_size // self.config.num_attention_heads
        return head


def rows_that_fit(
    model: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    quantized: Quantization | None = None,
) -> int:
    """Return how many chunks of the longest kind are answered at once (`--batch-size auto`).

    Args:
        model: Whose weights are not on the device yet.
        device: Where they go.
        dtype: Of what it computes with.
        quantized: How the decoder's linear layers are stored; None: in `dtype`.
    """
    free = free_memory(device)
    # Where the weights are more than fits, placement leaves a share for all else.
    left = max(free - total_bytes(model, dtype, quantized), RESERVED_SHARE * free)
    need = Need(model.config, dtype.itemsize, device.type == "cuda")
    return need.most_rows(FREE_SHARE * left, ENCODER_SECONDS, USUAL_TOKENS)


def _upward(positions: int, step: int) -> int:
    return -(-positions // step) * step

"""Audio embeddings of chunks: each is encoded once, however many requests are about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from phi4audio_cli.model.inputs import AudioInput, ModelInput
from phi4audio_cli.model.oom import classify, release_memory
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.types import ENCODER_WINDOW_EMBEDDINGS

MAX_ENCODER_WINDOWS = 16
"""Encoder windows of one pass on a GPU, which a single window does not keep busy."""

MAX_ENCODER_WINDOWS_CPU = 1
"""The same on a CPU: short chunks, packed into one window."""


def num_windows(inputs: Iterable[ModelInput]) -> int:
    """Return the encoder windows of the longest audio, at least 1."""
    longest = max((each.audio_length for each in inputs), default=0)
    return max(1, -(-longest // ENCODER_WINDOW_EMBEDDINGS))


class EncoderCache:
    """Encodes a chunk when it is needed, together with some of the next chunks.

    A pass takes chunks of similar length, up to `max_windows` encoder windows: a GPU pads them to
    the longest, a CPU packs them end to end. A chunk's embeddings are the same either way.

    Args:
        network: Encodes the chunks.
        max_windows: Most encoder windows of one pass; a single chunk may have more.
    """

    def __init__(self, network: Phi4Audio, max_windows: int) -> None:
        self.network = network
        self.max_windows = max_windows
        self._embeddings: dict[AudioInput, torch.Tensor] = {}

    def get(self, model_input: ModelInput, upcoming: Sequence[ModelInput] = ()) -> torch.Tensor:
        """Return the audio embeddings of an input, shape (audio_length, width).

        Args:
            model_input: Its audio is encoded unless it is cached.
            upcoming: The next inputs. Cached embeddings of other audio are dropped.
        """
        needed = [each.audio for each in (model_input, *upcoming) if each.audio is not None]
        kept = {audio: self._embeddings[audio] for audio in needed if audio in self._embeddings}
        self._embeddings = kept
        if model_input.audio is None:
            return self.network.embed(())
        if model_input.audio not in self._embeddings:
            self._encode(self._group(model_input.audio, needed))
        return self._embeddings[model_input.audio]

    def _encode(self, group: Sequence[AudioInput]) -> None:
        """Encode a group; where memory runs out, only its first half."""
        try:
            with torch.inference_mode():
                encoded = self.network.encode_clips([audio.features for audio in group])
            self._embeddings.update(zip(group, encoded, strict=True))
            return
        except Exception as error:
            if len(group) == 1 or not classify(error, self.network.device).is_oom:
                raise
        release_memory()
        self.max_windows = self._windows(group) // 2
        self._encode(group[: len(group) // 2])

    def _group(self, audio: AudioInput, needed: Sequence[AudioInput]) -> list[AudioInput]:
        """Return the audio and upcoming audio of similar length, to be encoded in one pass."""
        missing = {each for each in needed if each is not audio and each not in self._embeddings}
        group = [audio]
        in_order = [each for each in dict.fromkeys(needed) if each in missing]
        for each in sorted(in_order, key=lambda other: abs(other.length - audio.length)):
            if self._windows([*group, each]) > self.max_windows:
                break
            group.append(each)
        return group

    def _windows(self, group: Sequence[AudioInput]) -> int:
        """Return the encoder windows that a pass over a group computes."""
        lengths = [audio.length for audio in group]
        if self.network.device.type == "cpu":
            return -(-sum(lengths) // ENCODER_WINDOW_EMBEDDINGS)
        return len(group) * max(1, -(-max(lengths) // ENCODER_WINDOW_EMBEDDINGS))

"""Audio embeddings: a chunk goes through the encoder once, however many requests are about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from phi4audio_cli.model.encoder import WINDOW_FRAMES
from phi4audio_cli.model.failures import release_memory, understand
from phi4audio_cli.model.features import embedding_count
from phi4audio_cli.model.inputs import Prepared
from phi4audio_cli.model.network import Phi4AudioForCausalLM

HEARD_TOGETHER = 16
"""Encoder windows at once on a GPU, which one alone doesn't keep busy."""

HEARD_ON_CPU = 1
"""The same on a CPU: short chunks that make up a window end to end."""


def encoder_windows(rows: Iterable[Prepared]) -> int:
    """Return how many encoder windows the longest audio takes, at least 1."""
    longest = max((row.audio_length for row in rows), default=0)
    return max(1, -(-longest // WINDOW_FRAMES))


def embed_audio(model: Phi4AudioForCausalLM, batch: Sequence[Prepared]) -> list[torch.Tensor]:
    """Run the encoder once over the chunks of a batch, however many rows are about each.

    Returns:
        For each row its audio embeddings, shape (audio_length, decoder width); of length 0 for a
        row without audio.
    """
    chunks = {id(row.features): row.features for row in batch if row.features is not None}
    nothing = model.audio.up_proj_for_speech.weight.new_zeros(0, model.config.hidden_size)
    embedded = dict(zip(chunks, encode(model, list(chunks.values())), strict=True))
    return [embedded.get(id(row.features), nothing) for row in batch]


def encode(model: Phi4AudioForCausalLM, chunks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Encode features, each of shape (frames, mel bands), to embeddings (n, decoder width)."""
    if not chunks:
        return []
    weight = model.audio.up_proj_for_speech.weight
    heard = [chunk.to(weight.device) for chunk in chunks]
    features = torch.nn.utils.rnn.pad_sequence(heard, batch_first=True)
    lengths = torch.tensor([len(chunk) for chunk in chunks])
    mask = None
    if int(lengths.min()) < features.shape[1]:
        mask = (torch.arange(features.shape[1]) < lengths[:, None]).to(weight.device)
    embedded = model.audio.embed(features.to(weight.device, weight.dtype), mask)
    return [row[: embedding_count(len(chunk))] for row, chunk in zip(embedded, chunks, strict=True)]


class Hearing:
    """Encodes a chunk when it is asked for, together with some of those that come next.

    Up to `together` encoder windows at once, of chunks like in length: a GPU pads them to the
    longest, on a CPU they lie end to end.

    Args:
        model: Encodes.
        together: Encoder windows at once.
    """

    def __init__(self, model: Phi4AudioForCausalLM, together: int) -> None:
        self.model = model
        self.together = together
        self._embedded: dict[int, tuple[torch.Tensor | None, torch.Tensor]] = {}
        """By the features' identity: the features, so that no others can have it, and the
        embeddings."""

    def of(self, row: Prepared, waiting: Sequence[Prepared] = ()) -> torch.Tensor:
        """Return a row's audio embeddings, shape (audio_length, decoder width).

        Args:
            row: Whose.
            waiting: Rows to come; embeddings that are neither theirs nor this row's are dropped.
        """
        wanted = {id(each.features) for each in (row, *waiting)}
        self._embedded = {key: kept for key, kept in self._embedded.items() if key in wanted}
        if id(row.features) not in self._embedded:
            self._encode(self._group(row, waiting))
        return self._embedded[id(row.features)][1]

    def _encode(self, rows: Sequence[Prepared]) -> None:
        """Encode the chunks of some rows; where the memory runs out, only half of them."""
        try:
            with torch.inference_mode():
                for row, embedded in zip(rows, embed_audio(self.model, rows), strict=True):
                    self._embedded[id(row.features)] = row.features, embedded
            return
        except Exception as error:
            device = self.model.audio.up_proj_for_speech.weight.device
            if len(rows) == 1 or not understand(error, device).of_memory:
                raise
        release_memory()
        self.together = self._windows(rows) // 2
        self._encode(rows[: len(rows) // 2])

    def _group(self, row: Prepared, waiting: Sequence[Prepared]) -> list[Prepared]:
        """Return the row and those of the waiting that are encoded with it."""
        if row.features is None:
            return [row]
        unheard = [each for each in waiting if each.features is not None
                   and id(each.features) not in self._embedded]  # fmt: skip
        unheard.sort(key=lambda each: abs(each.audio_length - row.audio_length))
        group = {id(row.features): row}
        for each in unheard:
            if self._windows([*group.values(), each]) > self.together:
                break
            group.setdefault(id(each.features), each)
        return list(group.values())

    def _windows(self, rows: Sequence[Prepared]) -> int:
        """Return how many encoder windows some chunks take together."""
        if self.model.audio.up_proj_for_speech.weight.device.type == "cpu":
            return -(-sum(row.audio_length for row in rows) // WINDOW_FRAMES)
        return len(rows) * encoder_windows(rows)

"""Which requests are answered together, and how often audio is encoded for them: once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from phi4audio_cli.model.encoder import WINDOW_FRAMES
from phi4audio_cli.model.generate import embed_audio
from phi4audio_cli.model.inputs import Pending, Prepared
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.types import Unanswered


def windows(
    prepared: Iterable[Pending | Unanswered | None], size: int
) -> Iterator[list[Pending] | Unanswered]:
    """Collect requests that are sorted together: about `size`, fewer where None flushes.

    Requests about one chunk, which follow each other, are never divided. What is unanswered
    already is handed on at once.
    """
    held: list[Pending] = []
    for item in prepared:
        if isinstance(item, Unanswered):
            yield item
            continue
        if item is None or (len(held) >= size and not _same_chunk(held[-1], item)):
            if held:
                yield held
            held = []
        if item is not None:
            held.append(item)
    if held:
        yield held


def batches(
    pending: Sequence[Pending], size: int, must_be_alone: Callable[[Prepared], bool]
) -> Iterator[list[Pending]]:
    """Group requests of like lengths, longest first; what must be alone comes last.

    A batch holds at most `size` requests and at most `size` encoder windows of audio, but always
    one request; requests about one chunk stay together where they fit.
    """
    alone = [item for item in pending if must_be_alone(item[1])]
    together = [item for item in pending if not must_be_alone(item[1])]
    batch: list[Pending] = []
    for group in _by_chunk(together):
        if batch and len(batch) + len(group) > _room(batch + group, size):
            yield batch
            batch = []
        batch = batch + group
        while len(batch) > (room := _room(batch, size)):
            yield batch[:room]
            batch = batch[room:]
    if batch:
        yield batch
    for item in sorted(alone, key=_length, reverse=True):
        yield [item]


def fewer(batch: Sequence[Pending]) -> int:
    """Return the size of batches that hold half as many requests of this batch's lengths."""
    return max(1, len(batch) // 2 * _windows(batch))


class Hearing:
    """Audio embeddings of the chunks in a window: each encoded once, dropped after its last use.

    They stay until `let_go`, so that a batch which fails can be tried again in parts.

    Args:
        model: Encodes.
        rows: All that will be asked for.
    """

    def __init__(self, model: Phi4AudioForCausalLM, rows: Iterable[Prepared]) -> None:
        self._model = model
        self._uses = Counter(id(row.features) for row in rows)
        self._embedded: dict[int, torch.Tensor] = {}

    def of(self, batch: Sequence[Prepared]) -> list[torch.Tensor]:
        """Return the audio embeddings of each row, shape (audio_length, decoder width)."""
        new = [row for row in batch if id(row.features) not in self._embedded]
        with torch.inference_mode():
            for row, embedded in zip(new, embed_audio(self._model, new), strict=True):
                self._embedded[id(row.features)] = embedded
        return [self._embedded[id(row.features)] for row in batch]

    def let_go(self, batch: Sequence[Prepared]) -> None:
        """Note that these rows are done with."""
        for key, count in Counter(id(row.features) for row in batch).items():
            self._uses[key] -= count
            if self._uses[key] <= 0:
                self._embedded.pop(key, None)


def _same_chunk(left: Pending, right: Pending) -> bool:
    return right[1].features is not None and left[1].features is right[1].features


def _length(item: Pending) -> int:
    return item[1].prompt_length


def _by_chunk(pending: Iterable[Pending]) -> list[list[Pending]]:
    """Group requests about one chunk; the groups by their longest prompt, longest first."""
    groups: dict[int, list[Pending]] = {}
    for item in pending:
        row = item[1]
        key = id(row) if row.features is None else id(row.features)
        groups.setdefault(key, []).append(item)
    return sorted(groups.values(), key=lambda group: max(map(_length, group)), reverse=True)


def _room(batch: Sequence[Pending], size: int) -> int:
    """Return how many of these requests fit a batch: each counts as long as the longest."""
    return max(1, size // _windows(batch))


def _windows(batch: Sequence[Pending]) -> int:
    """Return how many encoder windows the longest audio takes, at least 1."""
    longest = max(row.audio_length for _, row in batch)
    return max(1, -(-longest // WINDOW_FRAMES))

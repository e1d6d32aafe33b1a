"""Pack several examples about one clip into one sequence that shares the audio prefix."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from training.spoken_digits.clip_pool import EncodedClip
from training.spoken_digits.clip_synthesis import NO_DIGIT
from training.spoken_digits.digit_tasks import (
    AUDIO,
    END_OF_TEXT,
    USER,
    TaskExample,
    answer_ids,
    prompt_ids,
    separator_id,
    special_id,
)

IGNORE_INDEX = -100
# Target positions of guided heads: in the audio the next word, in the text the tokens before it.
GUIDED_POSITIONS = ("start", "middle", "stop", "token before", "two tokens before")
_MASKED = -1e9


@dataclass
class PackedRow:
    """A row under construction: user token, audio padded to the batch's longest, examples."""

    ids: list[int]
    positions: list[int]
    segments: list[int]
    targets: list[int]
    counts: list[int]
    latest: list[tuple[int, int, int, int]]
    places: list[tuple[int, int, int]]
    _num_examples: int = field(default=0)

    @classmethod
    def from_clip(cls, clip: EncodedClip, audio: int) -> PackedRow:
        """Start a row with the clip; padding has the segment -1, which is masked."""
        real, size = len(clip.states), 1 + audio
        segments = [0] * (1 + real) + [-1] * (audio - real)
        ids = [special_id(USER)] + [special_id(AUDIO)] * audio
        unasked = [(IGNORE_INDEX,) * 4] * size
        return cls(
            ids,
            list(range(size)),
            segments,
            [IGNORE_INDEX] * size,
            [IGNORE_INDEX] * size,
            list(unasked),
            [(IGNORE_INDEX,) * 3] * size,
        )

    def add_example(self, clip: EncodedClip, example: TaskExample) -> None:
        """Append an example; its positions continue at the end of the clip's real audio."""
        self._num_examples += 1
        prompt, answer = prompt_ids(example.prompt), answer_ids(example.answer)
        ids = [*prompt, *answer[:-1]]
        begin = 1 + len(clip.states)
        asked = len(prompt) - 1  # positions of the prompt without a target
        self.ids += ids
        self.positions += range(begin, begin + len(ids))
        self.segments += [self._num_examples] * len(ids)
        self.targets += [IGNORE_INDEX] * asked + answer
        self.counts += [IGNORE_INDEX] * asked
        self.latest += [(IGNORE_INDEX,) * 4] * asked
        self.places += [(IGNORE_INDEX,) * 3] * asked
        for word in _word_indices(answer, len(clip.words), example.spells_words):
            self._add_targets(clip, word)

    def _add_targets(self, clip: EncodedClip, word: int) -> None:
        """Append the auxiliary and attention targets of the position that predicts a word."""
        if word < 0:
            self.counts.append(IGNORE_INDEX)
            self.latest.append((IGNORE_INDEX,) * 4)
            self.places.append((IGNORE_INDEX,) * 3)
            return
        before = [NO_DIGIT] * 3 + clip.digits[:word]
        self.counts.append(word + 1)
        self.latest.append((IGNORE_INDEX, before[-1], before[-2], before[-3]))
        self.places.append(clip.word_tokens(word))


def _word_indices(answer: list[int], words: int, spells_words: bool) -> list[int]:
    """Return for every token of an answer the index of its spoken word.

    The index after the last word stands for the separator and the end, -1 for other tokens.
    """
    if not spells_words:
        return [-1] * len(answer)
    part = list(range(words + 1))
    return part + part if separator_id() in answer else part


@dataclass
class PackedBatch:
    """A batch of rows as tensors; `audio` is the width of their audio part.

    states: (rows, audio, width). ids, positions, targets, counts: (rows, length). mask: additive,
    (rows, 1, length, length). latest: (rows, length, 4). asked: (rows, queries), the positions
    that predict words, 0 where there are fewer, with their mask (rows, queries, length). looks:
    (rows, queries, GUIDED_POSITIONS, 3), each position with its neighbours in the audio.
    """

    states: Tensor
    ids: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor
    counts: Tensor
    latest: Tensor
    asked: Tensor
    asked_mask: Tensor
    looks: Tensor

    @property
    def audio(self) -> int:
        """Number of audio positions, padding included."""
        return int(self.states.shape[1])


def pack_batch(clips: list[EncodedClip], examples: list[list[TaskExample]]) -> PackedBatch:
    """Make a batch of clips and the examples about each."""
    audio = max(len(clip.states) for clip in clips)
    rows = []
    for clip, own in zip(clips, examples, strict=True):
        row = PackedRow.from_clip(clip, audio)
        for example in own:
            row.add_example(clip, example)
        rows.append(row)
    states = torch.nn.utils.rnn.pad_sequence(
        [clip.states.float() for clip in clips], batch_first=True
    )
    counts, latest = _pad(rows, "counts", IGNORE_INDEX), _pad(rows, "latest", (IGNORE_INDEX,) * 4)
    for index, clip in enumerate(clips):
        here = slice(1, 1 + len(clip.states))
        counts[index, here] = torch.from_numpy(clip.labels.begun)
        latest[index, here] = torch.from_numpy(clip.labels.latest.T)
    mask = _mask(_pad(rows, "segments", -1))
    asked, places = _queries(rows)
    return PackedBatch(
        states=states,
        ids=_pad(rows, "ids", special_id(END_OF_TEXT)),
        positions=_pad(rows, "positions", 0),
        mask=mask,
        targets=_pad(rows, "targets", IGNORE_INDEX),
        counts=counts,
        latest=latest,
        asked=asked,
        asked_mask=mask[:, 0].gather(1, asked[..., None].expand(-1, -1, mask.shape[-1])),
        looks=_guided_positions(asked, places, torch.tensor([len(clip.states) for clip in clips])),
    )


def _queries(rows: list[PackedRow]) -> tuple[Tensor, Tensor]:
    """Return the positions that predict words, and the positions of the words, padded with 0."""
    asked = [[at for at, place in enumerate(row.places) if place[0] >= 0] for row in rows]
    longest = max(map(len, asked))
    positions = np.zeros((len(rows), longest), dtype=np.int64)
    places = np.zeros((len(rows), longest, 3), dtype=np.int64)
    for index, (row, own) in enumerate(zip(rows, asked, strict=True)):
        positions[index, : len(own)] = own
        # the user token comes before the audio
        places[index, : len(own)] = 1 + np.array([row.places[at] for at in own])
    return torch.from_numpy(positions), torch.from_numpy(places)


def _guided_positions(asked: Tensor, places: Tensor, last: Tensor) -> Tensor:
    """Return the target positions of guided heads: (rows, queries, GUIDED_POSITIONS, 3).

    Args:
        asked: positions that predict words, (rows, queries).
        places: start, middle and end of the words, (rows, queries, 3).
        last: every row's last audio position, (rows,).
    """
    audio = places[..., None] + torch.tensor([-1, 0, 1])
    audio = audio.clamp(min=1).minimum(last[:, None, None, None])
    before = (asked[..., None] - torch.tensor([1, 2])).clamp(min=0)
    return torch.cat([audio, before[..., None].expand(-1, -1, -1, 3)], dim=2)


def _pad(rows: list[PackedRow], name: str, filler: object) -> Tensor:
    """Stack one of the rows' lists, padded to the longest."""
    lists = [getattr(row, name) for row in rows]
    longest = max(map(len, lists))
    return torch.from_numpy(
        np.array([[*one, *[filler] * (longest - len(one))] for one in lists], dtype=np.int64)
    )


def _mask(segments: Tensor) -> Tensor:
    """Mask all but the clip, the earlier positions of the same example, and the position itself."""
    query, key = segments[:, :, None], segments[:, None, :]
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    allowed = ((key == 0) | (key == query)) & (key >= 0) & causal
    allowed |= torch.eye(length, dtype=torch.bool)
    return torch.where(allowed, 0.0, _MASKED)[:, None]

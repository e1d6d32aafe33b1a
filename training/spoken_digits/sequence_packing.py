"""Pack several examples about one clip into one sequence that shares the audio prefix."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .clip_pool import EncodedClip
from .clip_synthesis import NO_DIGIT
from .digit_tasks import (
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
# Where attention can be guided to: in the audio at the word that comes next, in the text at what
# was said before it, so that the last words are known together.
GUIDED_POSITIONS = ("start", "middle", "stop", "token before", "two tokens before")
_MASKED = -1e9


@dataclass
class PackedRow:
    """A row being put together: user token, audio padded to the batch's longest, lessons."""

    ids: list[int]
    positions: list[int]
    segments: list[int]
    targets: list[int]
    counts: list[int]
    latest: list[tuple[int, int, int, int]]
    places: list[tuple[int, int, int]]
    _lessons: int = field(default=0)

    @classmethod
    def from_clip(cls, heard: EncodedClip, audio: int) -> PackedRow:
        """Starts a row with the clip; padding gets the segment -1, which nobody attends to."""
        real, size = len(heard.states), 1 + audio
        segments = [0] * (1 + real) + [-1] * (audio - real)
        ids = [special_id(USER)] + [special_id(AUDIO)] * audio
        unasked = [(IGNORE_INDEX,) * 4] * size
        return cls(
            ids, list(range(size)), segments, [IGNORE_INDEX] * size, [IGNORE_INDEX] * size, list(unasked),
            [(IGNORE_INDEX,) * 3] * size,
        )  # fmt: skip

    def add_example(self, heard: EncodedClip, lesson: TaskExample) -> None:
        """Appends a lesson; its positions go on where the clip's real audio ends."""
        self._lessons += 1
        prompt, answer = prompt_ids(lesson.prompt), answer_ids(lesson.answer)
        ids = [*prompt, *answer[:-1]]
        begin = 1 + len(heard.states)
        asked = len(prompt) - 1  # positions of the prompt that predict nothing
        self.ids += ids
        self.positions += range(begin, begin + len(ids))
        self.segments += [self._lessons] * len(ids)
        self.targets += [IGNORE_INDEX] * asked + answer
        self.counts += [IGNORE_INDEX] * asked
        self.latest += [(IGNORE_INDEX,) * 4] * asked
        self.places += [(IGNORE_INDEX,) * 3] * asked
        for word in _word_indices(answer, len(heard.words), lesson.spells_words):
            self._add_targets(heard, word)

    def _add_targets(self, heard: EncodedClip, word: int) -> None:
        """Says what must be known where a word is to be predicted, and where to listen."""
        if word < 0:
            self.counts.append(IGNORE_INDEX)
            self.latest.append((IGNORE_INDEX,) * 4)
            self.places.append((IGNORE_INDEX,) * 3)
            return
        before = [NO_DIGIT] * 3 + heard.digits[:word]
        self.counts.append(word + 1)
        self.latest.append((IGNORE_INDEX, before[-1], before[-2], before[-3]))
        self.places.append(heard.word_tokens(word))


def _word_indices(answer: list[int], words: int, spells_words: bool) -> list[int]:
    """Returns for every token of an answer which spoken word it says.

    One past the last word stands for the separator and the end, -1 for anything else.
    """
    if not spells_words:
        return [-1] * len(answer)
    part = list(range(words + 1))
    return part + part if separator_id() in answer else part


@dataclass
class PackedBatch:
    """A batch of rows as tensors; `audio_seconds` is the width of their audio part.

    states: (rows, audio, width). ids, positions, targets, counts: (rows, length). mask: additive,
    (rows, 1, length, length). latest: (rows, length, 4). asked: (rows, queries), the positions
    that predict words, 0 where there are fewer, with their mask (rows, queries, length). looks:
    (rows, queries, PLACES, 3), each place's position between its neighbours in the audio.
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


def pack_batch(clips: list[EncodedClip], lessons: list[list[TaskExample]]) -> PackedBatch:
    """Makes a batch of clips and the lessons to be taught on each."""
    audio = max(len(heard.states) for heard in clips)
    rows = []
    for heard, own in zip(clips, lessons, strict=True):
        row = PackedRow.from_clip(heard, audio)
        for lesson in own:
            row.add_example(heard, lesson)
        rows.append(row)
    states = torch.nn.utils.rnn.pad_sequence(
        [heard.states.float() for heard in clips], batch_first=True
    )
    counts, latest = _pad(rows, "counts", IGNORE_INDEX), _pad(rows, "latest", (IGNORE_INDEX,) * 4)
    for index, heard in enumerate(clips):
        here = slice(1, 1 + len(heard.states))
        counts[index, here] = torch.from_numpy(heard.labels.begun)
        latest[index, here] = torch.from_numpy(heard.labels.latest.T)
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
        looks=_guided_positions(
            asked, places, torch.tensor([len(heard.states) for heard in clips])
        ),
    )


def _queries(rows: list[PackedRow]) -> tuple[Tensor, Tensor]:
    """Returns the positions that predict words and where those words are, filled up with 0."""
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
    """Lists the positions to look at: (rows, queries, PLACES, 3).

    Args:
        asked: positions that predict words, (rows, queries).
        places: where the words start, have their middle and stop, (rows, queries, 3).
        last: every row's last audio position, (rows,).
    """
    audio = places[..., None] + torch.tensor([-1, 0, 1])
    audio = audio.clamp(min=1).minimum(last[:, None, None, None])
    before = (asked[..., None] - torch.tensor([1, 2])).clamp(min=0)
    return torch.cat([audio, before[..., None].expand(-1, -1, -1, 3)], dim=2)


def _pad(rows: list[PackedRow], name: str, filler: object) -> Tensor:
    """Stacks one of the rows' lists, filled up to the longest."""
    lists = [getattr(row, name) for row in rows]
    longest = max(map(len, lists))
    return torch.from_numpy(
        np.array([[*one, *[filler] * (longest - len(one))] for one in lists], dtype=np.int64)
    )


def _mask(segments: Tensor) -> Tensor:
    """Lets every position see the clip and its own lesson before it, and always itself."""
    query, key = segments[:, :, None], segments[:, None, :]
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    allowed = ((key == 0) | (key == query)) & (key >= 0) & causal
    allowed |= torch.eye(length, dtype=torch.bool)
    return torch.where(allowed, 0.0, _MASKED)[:, None]

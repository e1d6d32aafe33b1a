"""Puts several lessons on one clip into one row, so that they share the audio before them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .pool import Heard
from .synthesis import NOTHING
from .texts import (
    AUDIO,
    END_OF_TEXT,
    USER,
    Lesson,
    answer_ids,
    prompt_ids,
    separator_id,
    special_id,
)

SKIP = -100
# Where attention can be guided to: in the audio at the word that comes next, in the text at what
# was said before it, so that the last words are known together.
PLACES = ("start", "middle", "stop", "token before", "two tokens before")
_BLOCKED = -1e9


@dataclass
class Row:
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
    def begin(cls, heard: Heard, audio: int) -> Row:
        """Starts a row with the clip; padding gets the segment -1, which nobody attends to."""
        real, size = len(heard.states), 1 + audio
        segments = [0] * (1 + real) + [-1] * (audio - real)
        ids = [special_id(USER)] + [special_id(AUDIO)] * audio
        unasked = [(SKIP,) * 4] * size
        return cls(
            ids, list(range(size)), segments, [SKIP] * size, [SKIP] * size, list(unasked),
            [(SKIP,) * 3] * size,
        )  # fmt: skip

    def add(self, heard: Heard, lesson: Lesson) -> None:
        """Appends a lesson; its positions go on where the clip's real audio ends."""
        self._lessons += 1
        prompt, answer = prompt_ids(lesson.prompt), answer_ids(lesson.answer)
        ids = [*prompt, *answer[:-1]]
        begin = 1 + len(heard.states)
        asked = len(prompt) - 1  # positions of the prompt that predict nothing
        self.ids += ids
        self.positions += range(begin, begin + len(ids))
        self.segments += [self._lessons] * len(ids)
        self.targets += [SKIP] * asked + answer
        self.counts += [SKIP] * asked
        self.latest += [(SKIP,) * 4] * asked
        self.places += [(SKIP,) * 3] * asked
        for word in _word_indices(answer, len(heard.words), lesson.spells_words):
            self._ask(heard, word)

    def _ask(self, heard: Heard, word: int) -> None:
        """Says what must be known where a word is to be predicted, and where to listen."""
        if word < 0:
            self.counts.append(SKIP)
            self.latest.append((SKIP,) * 4)
            self.places.append((SKIP,) * 3)
            return
        before = [NOTHING] * 3 + heard.digits[:word]
        self.counts.append(word + 1)
        self.latest.append((SKIP, before[-1], before[-2], before[-3]))
        self.places.append(heard.places(word))


def _word_indices(answer: list[int], words: int, spells_words: bool) -> list[int]:
    """Returns for every token of an answer which spoken word it says.

    One past the last word stands for the separator and the end, -1 for anything else.
    """
    if not spells_words:
        return [-1] * len(answer)
    part = list(range(words + 1))
    return part + part if separator_id() in answer else part


@dataclass
class Lectures:
    """A batch of rows as tensors; `audio` is the width of their audio part.

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


def lay_out(clips: list[Heard], lessons: list[list[Lesson]]) -> Lectures:
    """Makes a batch of clips and the lessons to be taught on each."""
    audio = max(len(heard.states) for heard in clips)
    rows = []
    for heard, own in zip(clips, lessons, strict=True):
        row = Row.begin(heard, audio)
        for lesson in own:
            row.add(heard, lesson)
        rows.append(row)
    states = torch.nn.utils.rnn.pad_sequence(
        [heard.states.float() for heard in clips], batch_first=True
    )
    counts, latest = _pad(rows, "counts", SKIP), _pad(rows, "latest", (SKIP,) * 4)
    for index, heard in enumerate(clips):
        here = slice(1, 1 + len(heard.states))
        counts[index, here] = torch.from_numpy(heard.labels.begun)
        latest[index, here] = torch.from_numpy(heard.labels.latest.T)
    mask = _mask(_pad(rows, "segments", -1))
    asked, places = _queries(rows)
    return Lectures(
        states=states,
        ids=_pad(rows, "ids", special_id(END_OF_TEXT)),
        positions=_pad(rows, "positions", 0),
        mask=mask,
        targets=_pad(rows, "targets", SKIP),
        counts=counts,
        latest=latest,
        asked=asked,
        asked_mask=mask[:, 0].gather(1, asked[..., None].expand(-1, -1, mask.shape[-1])),
        looks=_looks(asked, places, torch.tensor([len(heard.states) for heard in clips])),
    )


def _queries(rows: list[Row]) -> tuple[Tensor, Tensor]:
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


def _looks(asked: Tensor, places: Tensor, last: Tensor) -> Tensor:
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


def _pad(rows: list[Row], name: str, filler: object) -> Tensor:
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
    return torch.where(allowed, 0.0, _BLOCKED)[:, None]

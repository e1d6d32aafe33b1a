"""The stretch of a recording that is held while its next cut is looked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from phi4audio_cli.audio.vad import Marks, Probabilities, SpeechMarks
from phi4audio_cli.types import Samples, Span


class Tape:
    """Samples and marks of speech, by their place in the recording.

    Args:
        window: Samples for each mark.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._base = 0
        """Place of the first sample held; a multiple of the window."""
        self._samples: Samples = np.empty(0, np.float32)
        self._marks: Marks = np.empty(0, np.bool_)
        self._decide = SpeechMarks()
        self.ended = False

    @property
    def known(self) -> int:
        """All before this place is known, and marked as speech or not."""
        return self._base + min(len(self._samples), len(self._marks) * self._window)

    def append(self, samples: Samples, probabilities: Probabilities) -> None:
        """Add samples, in whole windows but at the recording's end, and what is heard in each."""
        self._samples = np.concatenate([self._samples, samples])
        self._marks = np.concatenate([self._marks, self._decide.push(probabilities)])

    def end(self) -> None:
        """Nothing more comes."""
        self._marks = np.concatenate([self._marks, self._decide.finish()])
        self.ended = True

    def forget(self, before: int) -> None:
        """Drop what lies before a place."""
        windows = max(0, before - self._base) // self._window
        self._marks = self._marks[windows:]
        self._samples = self._samples[windows * self._window :]
        self._base += windows * self._window

    def samples(self, start: int, stop: int) -> Samples:
        """Return a copy of some of the samples held."""
        return self._samples[start - self._base : stop - self._base].copy()

    def first_speech(self, place: int) -> int | None:
        """Return the first place of speech from `place` on, as far as it is known."""
        return next((span.start for span in self.speech(place, self.known)), None)

    def speech(self, start: int, stop: int) -> Iterator[Span]:
        """Yield the stretches of speech between two places, cut off at these."""
        low = max(0, start - self._base) // self._window
        marks = self._marks[low : -((self._base - stop) // self._window)]
        edges = np.flatnonzero(np.diff(marks.astype(np.int8), prepend=0, append=0))
        places = (edges + low) * self._window + self._base
        for first, last in places.reshape(-1, 2).tolist():
            if (begin := max(first, start)) < (end := min(last, stop)):
                yield Span(begin, end)

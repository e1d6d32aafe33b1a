"""The data that flows through the program. Frozen, plain, and importing nothing of ours.

Positions inside audio are whole samples; seconds are derived from them and never stored twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Samples: TypeAlias = "npt.NDArray[np.float32]"
"""Mono audio in [-1, 1], shape (length,)."""

WIDE_BAND = 16_000
"""Sample rate of the model's input, Hz."""

NARROW_BAND = 8_000
"""Sample rate of telephone audio, which the model was trained to hear without resampling, Hz."""

TimesFrom = Literal["attention", "speech", "chunk"]
"""Where a segment's times come from: aligned words, spread over speech, or the chunk's cuts."""

FinishReason = Literal["stop", "length"]
"""Why a generation ended: the model said so, or its token budget ran out."""


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to work on, and the file to write for each format."""

    index: int
    source: Path
    outputs: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What is known of a recording before it is decoded."""

    sample_rate: int
    """Rate of the decoded blocks, Hz: WIDE_BAND, or NARROW_BAND for telephone audio."""
    seconds: float | None
    """Length by the container's header; None where it doesn't say."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of samples, `stop` excluded."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A stretch of one recording that is sent to the model at once."""

    index: int
    """Place among the recording's chunks, from 0."""
    samples: Samples
    """Mono float32 in [-1, 1], shape (length,)."""
    sample_rate: int
    """WIDE_BAND or NARROW_BAND, Hz."""
    start: int
    """The real cut in the recording, in samples at `sample_rate`."""

    @property
    def stop(self) -> int:
        """First sample after the chunk."""
        return self.start + len(self.samples)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def start_seconds(self) -> float:
        """Start in the recording, in seconds."""
        return self.start / self.sample_rate

    @property
    def stop_seconds(self) -> float:
        """End in the recording, in seconds."""
        return self.stop / self.sample_rate


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One question to the model about one chunk."""

    job: int
    """`Job.index` of the recording the chunk was cut from."""
    chunk: Chunk
    prompt: str
    max_new_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """The model's answer to one request."""

    request: Request
    text: str
    tokens: tuple[int, ...]
    """Generated ids, the end token not included."""
    logprobs: tuple[float, ...]
    """Natural log-probability of each token of `tokens`."""
    finish: FinishReason

    @property
    def avg_logprob(self) -> float | None:
        """Mean log-probability of the tokens; None for an empty answer."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a transcript, times in seconds from the start of the recording."""

    word: str
    start: float
    end: float
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the transcript, times in seconds from the start of the recording."""

    id: int
    start: float
    end: float
    text: str
    times_from: TimesFrom
    avg_logprob: float | None = None
    finish: FinishReason = "stop"
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one recording."""

    text: str
    language: str | None
    """English name of the language, as asked for; None where nobody said."""
    segments: tuple[Segment, ...]
    duration: float
    """Seconds of audio that were decoded."""
    prompt: str
    """The instruction that was given with every chunk."""
    task: str = "transcribe"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an output file says of its making. Nothing in it depends on batching or speed."""

    source: str
    """Name of the recording, without its folder."""
    model: str
    """The model as the user named it."""
    version: str
    """Version of phi4audio."""


@dataclass(frozen=True, slots=True)
class FileStarted:
    """A recording was opened."""

    job: Job
    seconds: float | None
    """Length by the container's header; None where it doesn't say."""


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """The model answered for one chunk."""

    job: Job
    generation: Generation


@dataclass(frozen=True, slots=True)
class FileDone:
    """All chunks of a recording are done and put together."""

    job: Job
    result: Transcript


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A recording could not be done."""

    job: Job
    error: Exception


Event = FileStarted | ChunkDone | FileDone | FileFailed
"""What the engine tells its listeners."""

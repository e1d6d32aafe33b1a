"""The data that flows through the program. Frozen and plain.

Positions inside audio are whole samples; seconds are derived from them and never stored twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from phi4audio_cli.locations import Location

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Samples: TypeAlias = "npt.NDArray[np.float32]"
"""Mono audio in [-1, 1], shape (length,)."""

WIDE_BAND = 16_000
"""Sample rate of the model's input, Hz."""

NARROW_BAND = 8_000
"""Sample rate of telephone audio, which the model was trained to hear without resampling, Hz."""

FEATURES_PER_SECOND = 100
"""Log-mel feature frames of a second of audio: one every 10 ms."""

FEATURES_PER_EMBEDDING = 8
"""Feature frames that the encoder joins into one audio embedding of 80 ms."""

EMBEDDINGS_PER_SECOND = FEATURES_PER_SECOND / FEATURES_PER_EMBEDDING
"""Audio embeddings, each a position of the decoder, of a second of audio: 12.5."""

EMBEDDING_SECONDS = FEATURES_PER_EMBEDDING / FEATURES_PER_SECOND
"""Audio that one embedding covers: 80 ms."""

ENCODER_WINDOW_SECONDS = 40.0
"""Longest audio whose frames all attend to each other in the encoder; longer audio is folded."""

ENCODER_WINDOW_EMBEDDINGS = round(ENCODER_WINDOW_SECONDS * EMBEDDINGS_PER_SECOND)
"""Audio embeddings of one encoder window: 500."""

TimestampSource = Literal["attention", "speech", "chunk"]
"""Where a segment's times come from: aligned words, spread over speech, or the chunk's cuts."""

LanguageSource = Literal["given", "text"]
"""Where a language comes from: the user said so, or it was detected from the text."""

FinishReason = Literal["stop", "length"]
"""Why a generation ended: the model said so, or its token budget ran out."""

RawSamples: TypeAlias = "npt.NDArray[np.float32] | npt.NDArray[np.int16]"
"""Audio in memory as a caller gives it, shape (length,) or (length, channels)."""

Channel = Literal["mix", "left", "right"]
"""What is heard of a recording with several channels: their average, or one of the first two."""

Attempt = Literal["first", "halves", "penalty"]
"""How a chunk is asked about: as it is, cut in two at a pause, with a repetition penalty."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioArray:
    """A recording in memory."""

    samples: RawSamples
    """float32 in [-1, 1] or int16, shape (length,) or (length, channels)."""
    sample_rate: int
    """Hz."""


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to work on, and the files to write."""

    index: int
    source: Path
    outputs: Mapping[str, Location] = field(default_factory=dict)
    """By the end of its name: a format (`srt`), or a variant of the result and one (`fr.srt`)."""
    language: str | None = None
    """English name of its spoken language, where a manifest gives it; else the run's counts."""
    url: str | None = None
    """Where `source` is fetched from when its turn comes; None: it is a file already."""
    audio: AudioArray | None = None
    """The recording itself, where it is in memory; `source` then only names it in messages."""


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
    speech: tuple[Span, ...] = ()
    """Where speech was heard in it, by the recording's samples; empty where nobody listened."""
    speaker: str | None = None
    """Who is on its channel, where channels are heard apart."""

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

    @property
    def recording_seconds(self) -> float:
        """Seconds of the recording that it stands for; two channels share each second."""
        return self.seconds / 2 if self.speaker else self.seconds

    def with_silence(self, num_samples: int) -> Chunk:
        """Return the chunk with silent samples, which take no memory, in place of its audio."""
        import numpy as np

        return replace(self, samples=np.broadcast_to(np.float32(0), (num_samples,)))


_next_request_id = itertools.count().__next__


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One question to the model, about one chunk or about the text of its prompt alone."""

    job: int
    """`Job.index` of the recording it is about."""
    chunk: Chunk | None
    """What the model hears; None: it only reads."""
    prompt: str
    max_new_tokens: int
    label: str = ""
    """By what the task knows its requests apart; means nothing to others."""
    system: str = ""
    """What the model is told before the user's turn; empty: nothing."""
    align: bool = False
    """Whether the answer's words are to be found in the audio."""
    repetition_penalty: float = 1.0
    """What the logits of tokens that were generated before are divided by; 1: nothing."""
    attempt: Attempt = "first"
    """Why it is asked: at first, or to repair an answer."""
    id: int = field(default_factory=_next_request_id, init=False, repr=False)
    """Unique in this process; a copy made by `dataclasses.replace` has its own."""


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
    words: tuple[Word, ...] = ()
    """The words with times, where they were asked for and found."""

    @property
    def avg_logprob(self) -> float | None:
        """Mean log-probability of the tokens; None for an empty answer."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None


@dataclass(frozen=True, slots=True, eq=False)
class RequestFailed:
    """A request the backend could not answer; its recording fails."""

    request: Request
    error: Exception


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
    times_from: TimestampSource
    avg_logprob: float | None = None
    finish: FinishReason = "stop"
    words: tuple[Word, ...] = ()
    transcript: str | None = None
    """What was said, where `text` is its translation and the model was asked for both."""
    speaker: str | None = None
    """Who says it, where channels were heard apart."""
    flags: tuple[str, ...] = ()
    """Why its text may be wrong, in one word each; empty: nothing speaks against it."""
    tried: tuple[str, ...] = ()
    """What was tried to repair its text, the kept attempt last; empty: there was no need."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one recording."""

    text: str
    language: str | None
    """English name of the language; None where nobody said and the text doesn't tell."""
    segments: tuple[Segment, ...]
    duration: float
    """Seconds of audio that were decoded."""
    prompt: str
    """The instruction that was given with every chunk."""
    task: str = "transcribe"
    language_from: LanguageSource | None = None
    """Who says so; None where there is no language."""
    speech: float | None = None
    """Seconds in which speech was heard; None where nobody listened for it."""
    uncovered: float = 0.0
    """Seconds of speech that have no text."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What was said in one recording, in another language."""

    text: str
    language: str
    """English name of the language it is translated into."""
    code: str
    """ISO 639-1 of that language; it stands in the names of the outputs."""
    segments: tuple[Segment, ...]
    """With the recording's times and the translated text."""
    duration: float
    """Seconds of audio that were decoded."""
    prompt: str
    source_language: str | None = None
    """English name of the spoken language, as given; None where nobody said."""
    bilingual: bool = False
    """Whether subtitles show what was said, too."""
    task: str = "translate"
    speech: float | None = None
    """Seconds in which speech was heard; None where nobody listened for it."""
    uncovered: float = 0.0
    """Seconds of speech that have no text."""


@dataclass(frozen=True, slots=True)
class Translations:
    """The translations of one recording, one for each language asked for."""

    each: tuple[Translation, ...]
    duration: float
    task: str = "translate"

    @property
    def text(self) -> str:
        """The translations, one a line."""
        return "\n".join(translation.text for translation in self.each)


@dataclass(frozen=True, slots=True)
class Part:
    """What the model said of one stretch of a recording, times in seconds from its start."""

    start: float
    end: float
    text: str
    avg_logprob: float | None = None
    finish: FinishReason = "stop"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a recording is about."""

    text: str
    language: str | None
    """English name of the language it was asked for in; None: the model chose."""
    style: str
    parts: tuple[Part, ...]
    """The stretches it was made from; one for a recording that was heard in one pass."""
    duration: float
    """Seconds of audio that were decoded."""
    prompt: str
    """The instruction that was given with every part."""
    joining_prompt: str | None = None
    """The instruction that made one summary of the parts'; None for a single part."""
    task: str = "summarize"
    finish: FinishReason = "stop"
    """`length`: a token budget ran out, so the text, or one it was made from, may end too early."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question about a recording."""

    text: str
    question: str | None
    """None: the question is the one that is spoken."""
    parts: tuple[Part, ...]
    """The stretches it was made from; one for a recording that was heard in one pass."""
    duration: float
    """Seconds of audio that were decoded."""
    prompt: str
    """The instruction that was given with every part."""
    joining_prompt: str | None = None
    """The instruction that made one answer of the parts'; None for a single part."""
    system: str = ""
    language: str | None = None
    task: str = "ask"
    finish: FinishReason = "stop"
    """`length`: a token budget ran out, so the text, or one it was made from, may end too early."""


Result = Transcript | Translations | Summary | Answer
"""What a task makes of one recording."""

Document = Transcript | Translation | Summary | Answer
"""What is written into one file."""


def document_for_variant(result: Result, variant: str) -> Document:
    """Return what of a result goes into the files of a variant.

    Raises:
        KeyError: There is no translation of this code.
    """
    if not isinstance(result, Translations):
        return result
    return {each.code: each for each in result.each}[variant]


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
    """The model answered one request."""

    job: Job
    generation: Generation
    resumed: bool = False
    """Whether it did so in an earlier run."""


@dataclass(frozen=True, slots=True)
class FileDone:
    """All chunks of a recording are done and put together."""

    job: Job
    result: Result
    warnings: tuple[str, ...] = ()
    """What a user should know of it: damage, doubtful segments, speech without text."""


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A recording could not be done."""

    job: Job
    error: Exception


Event = FileStarted | ChunkDone | FileDone | FileFailed
"""What the engine tells its listeners."""

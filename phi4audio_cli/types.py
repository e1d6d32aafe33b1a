"""Frozen data that flows through the program: recordings, chunks, requests, results, events.

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
"""Sample rate of telephone audio, Hz; the model was trained on it without resampling."""

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
"""Origin of a segment's times: aligned words, interpolation over speech, or the chunk's cuts."""

LanguageSource = Literal["given", "text"]
"""Origin of a language: given by the user, or detected from the text."""

FinishReason = Literal["stop", "length"]
"""Reason a generation ended: an end token, or the end of its token budget."""

RawSamples: TypeAlias = "npt.NDArray[np.float32] | npt.NDArray[np.int16]"
"""Audio in memory as a caller gives it, shape (length,) or (length, channels)."""

Channel = Literal["mix", "left", "right"]
"""Channel of a recording to process: the downmix of all, or one of the first two."""

Attempt = Literal["first", "halves", "penalty"]
"""Form of a request about a chunk: whole, split in two at a pause, with a repetition penalty."""


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
    """Output paths by name suffix: a format (`srt`), or a variant and a format (`fr.srt`)."""
    language: str | None = None
    """English name of its spoken language if a manifest gives it; None: the run's language."""
    url: str | None = None
    """URL to download `source` from when it is read; None: `source` is a file."""
    audio: AudioArray | None = None
    """The recording itself if it is in memory; `source` then only names it in messages."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Facts about a recording that are known before it is decoded."""

    sample_rate: int
    """Rate of the decoded blocks, Hz: WIDE_BAND, or NARROW_BAND for telephone audio."""
    seconds: float | None
    """Length by the container's header; None if the header has none."""


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
    """Detected speech, in samples of the recording; empty without speech detection."""
    speaker: str | None = None
    """Speaker of its channel, if channels are transcribed separately."""

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
        """Seconds of the recording that it covers; two channels share each second."""
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
    """Audio for the model; None: the prompt is text alone."""
    prompt: str
    max_new_tokens: int
    label: str = ""
    """Distinguishes the requests of a task; only the task reads it."""
    system: str = ""
    """System prompt, before the user's turn; empty: none."""
    align: bool = False
    """Whether the answer's words get times."""
    repetition_penalty: float = 1.0
    """Divisor of the logits of tokens that were generated before; 1: no penalty."""
    attempt: Attempt = "first"
    """The first attempt, or the kind of retry."""
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
    """Words with times, if they were requested and found."""

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
    """Transcript of the segment, if `text` is its translation and both were requested."""
    speaker: str | None = None
    """Speaker, if channels were transcribed separately."""
    flags: tuple[str, ...] = ()
    """Reasons to doubt the text, one word each; empty: none."""
    tried: tuple[str, ...] = ()
    """Attempts to repair the text, the kept one last; empty: no retry was needed."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The transcript of one recording."""

    text: str
    language: str | None
    """English name of the language; None if it was neither given nor detected."""
    segments: tuple[Segment, ...]
    duration: float
    """Seconds of audio that were decoded."""
    prompt: str
    """The instruction that was given with every chunk."""
    task: str = "transcribe"
    language_from: LanguageSource | None = None
    """Origin of `language`; None without a language."""
    speech: float | None = None
    """Seconds of detected speech; None without speech detection."""
    uncovered: float = 0.0
    """Seconds of speech that have no text."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The translation of one recording into one language."""

    text: str
    language: str
    """English name of the language it is translated into."""
    code: str
    """ISO 639-1 code of that language; part of the output names."""
    segments: tuple[Segment, ...]
    """With the recording's times and the translated text."""
    duration: float
    """Seconds of audio that were decoded."""
    prompt: str
    source_language: str | None = None
    """English name of the spoken language, as given; None if it was not given."""
    bilingual: bool = False
    """Whether subtitles show the transcript, too."""
    task: str = "translate"
    speech: float | None = None
    """Seconds of detected speech; None without speech detection."""
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
    """The model's answer about one part of a recording, times in seconds from its start."""

    start: float
    end: float
    text: str
    avg_logprob: float | None = None
    finish: FinishReason = "stop"


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of one recording."""

    text: str
    language: str | None
    """English name of the requested language; None: the model chose."""
    style: str
    parts: tuple[Part, ...]
    """Answers about the parts of the recording; one for a recording that fits one pass."""
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
    """Answers about the parts of the recording; one for a recording that fits one pass."""
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
"""Result of a task for one recording."""

Document = Transcript | Translation | Summary | Answer
"""Content of one output file."""


def document_for_variant(result: Result, variant: str) -> Document:
    """Return the document of a result that the files of a variant hold.

    Raises:
        KeyError: There is no translation of this code.
    """
    if not isinstance(result, Translations):
        return result
    return {each.code: each for each in result.each}[variant]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Provenance in an output file. Nothing in it depends on batching or speed."""

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
    """Length by the container's header; None if the header has none."""


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """The model answered one request."""

    job: Job
    generation: Generation
    resumed: bool = False
    """Whether the answer comes from an earlier run."""


@dataclass(frozen=True, slots=True)
class FileDone:
    """A recording is done: its result is complete."""

    job: Job
    result: Result
    warnings: tuple[str, ...] = ()
    """Notices for the user: damage, doubtful segments, speech without text."""


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A recording failed."""

    job: Job
    error: Exception


Event = FileStarted | ChunkDone | FileDone | FileFailed
"""Events that the pipeline yields."""

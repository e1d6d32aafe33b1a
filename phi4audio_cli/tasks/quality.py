"""Defects of answers, and quality warnings about a result.

Text alone is weak evidence: people repeat themselves, or say that they cannot hear. A suspected
defect leads to a retry, and the answers about the halves of the chunk confirm or refute it
(`tasks.retry`). An exhausted token budget or an impossible speech rate is proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from phi4audio_cli.formatting import format_timestamp
from phi4audio_cli.tasks.chunk_answers import chunk_of
from phi4audio_cli.text.degenerate import is_prompt_echo, is_refusal, is_repetitive
from phi4audio_cli.text.language_detection import foreign_share, is_wrong_script, scripts_of
from phi4audio_cli.text.words import count_words
from phi4audio_cli.types import (
    Answer,
    Chunk,
    Generation,
    Result,
    Segment,
    Summary,
    Transcript,
    Translation,
)

MIN_SPEECH_SECONDS = 1.0
"""An empty answer about less speech is not a defect: the sound may be a cough."""

MAX_WORDS_PER_SECOND = 8.0
"""Upper limit of human speech for longer than a moment; fast speakers reach 5."""

SPEECH_EDGE_SECONDS = 0.5
"""Speech that a detector misses at the edges."""

MAX_FOREIGN_SHARE = 0.2
"""With a larger share of letters in other scripts, a recording has several languages."""

MAX_UNCOVERED_SHARE = 0.05
"""Share of speech without text that needs no warning: detectors also mark noise as speech."""

MAX_LISTED_SEGMENTS = 5
"""Doubtful segments that a warning names; the JSON output has all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """An answer with its defects.

    A defect is one of `empty`, `refusal`, `echo` (of the prompt), `script`, `loop`, `rate` (more
    words than a speaker can say) and `length` (the token budget ran out), in this order.
    """

    answer: Generation
    suspected: tuple[str, ...]
    """Reasons to retry."""
    confirmed: tuple[str, ...]
    """The suspected defects without a `loop` that may be real speech: repetition counts only if the
    token budget ran out or no speaker can be so fast."""


def assess(answer: Generation, language: str | None) -> Assessment:
    """Look for defects in an answer about a chunk.

    Args:
        answer: About a chunk.
        language: English name of the expected language; None: any language of the model.
    """
    text, chunk = answer.text, chunk_of(answer)
    exhausted = answer.finish == "length"
    loop = is_repetitive(text)
    checks = {
        "empty": not text and speech_seconds(chunk) >= MIN_SPEECH_SECONDS,
        "refusal": is_refusal(text),
        "echo": is_prompt_echo(text, answer.request.prompt),
        "script": is_wrong_script(text, language),
        "loop": loop,
        "rate": not loop and _exceeds_speech_rate(text, chunk.seconds),
        "length": exhausted,
    }
    suspected = tuple(name for name, holds in checks.items() if holds)
    if loop and not exhausted:
        loop = _exceeds_speech_rate(text, speech_seconds(chunk) or chunk.seconds)
    confirmed = tuple(name for name in suspected if name != "loop" or loop)
    return Assessment(answer, suspected, confirmed)


def flag_wrong_script(segments: Sequence[Segment], language: str | None) -> list[Segment]:
    """Flag segments in another script than that of the recording's language.

    Args:
        segments: Of one recording.
        language: English name of its language, given or detected; None: no segment is flagged.
    """
    text = "".join(segment.text for segment in segments)
    if language is None or foreign_share(text, scripts_of(language)) > MAX_FOREIGN_SHARE:
        return list(segments)  # the language is unknown, or there are several
    return [
        replace(segment, flags=(*segment.flags, "script"))
        if "script" not in segment.flags and is_wrong_script(segment.text, language)
        else segment
        for segment in segments
    ]


def speech_seconds(chunk: Chunk) -> float:
    """Return the seconds of detected speech in a chunk; 0 without speech detection."""
    return sum(len(span) for span in chunk.speech) / chunk.sample_rate


def _exceeds_speech_rate(text: str, seconds: float) -> bool:
    return count_words(text) > MAX_WORDS_PER_SECOND * (seconds + SPEECH_EDGE_SECONDS)


def quality_warnings(result: Result, max_uncovered: float = MAX_UNCOVERED_SHARE) -> tuple[str, ...]:
    """Return short warnings about a result; empty: the result has no known defect.

    Args:
        result: Of any task.
        max_uncovered: Share of the speech that may be without text.
    """
    if isinstance(result, Summary | Answer):
        return ("the text may end too early: a token budget ran out",) * (result.finish == "length")
    if isinstance(result, Transcript):
        return tuple(_segment_warnings(result, max_uncovered))
    several = len(result.each) > 1
    return tuple(
        f"{each.language}: {line}" if several else line
        for each in result.each
        for line in _segment_warnings(each, max_uncovered)
    )


MIN_AUDIBLE_SECONDS = 0.5
"""Seconds of audio that is not silence without which an empty result is to be expected."""


def no_text_warnings(result: Result, audible_seconds: float) -> tuple[str, ...]:
    """Return a warning about a result without text whose audio is not silent; empty otherwise.

    Args:
        result: Of any task.
        audible_seconds: Length of the audio that is not silence.
    """
    if audible_seconds < MIN_AUDIBLE_SECONDS or result.text.strip():
        return ()
    return (f"no text, although {audible_seconds:.1f} s of the audio are not silent",)


def _segment_warnings(result: Transcript | Translation, max_uncovered: float) -> Iterator[str]:
    if doubtful := [segment for segment in result.segments if segment.flags]:
        yield _describe_flagged(doubtful)
    speech = result.speech or 0.0
    if result.uncovered > max_uncovered * speech:
        yield f"{result.uncovered:.1f} s of {speech:.1f} s of speech have no text"


def _describe_flagged(segments: Sequence[Segment]) -> str:
    """Return a line such as `2 segments are doubtful: loop at 1:20, length at 3:05`."""
    places = [f"{' and '.join(each.flags)} at {format_timestamp(each.start)}" for each in segments]
    if len(places) > MAX_LISTED_SEGMENTS:
        places = [*places[:MAX_LISTED_SEGMENTS], f"{len(places) - MAX_LISTED_SEGMENTS} more"]
    count = "1 segment is" if len(segments) == 1 else f"{len(segments)} segments are"
    return f"{count} doubtful: {', '.join(places)}"

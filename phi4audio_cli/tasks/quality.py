"""Defects of answers, and the warnings about a result.

Text alone proves little: people repeat themselves or say that they cannot hear. A suspected defect is
a reason to retry; the answers about the halves of the chunk confirm or refute it (`tasks.retry`).
A used-up token budget or an impossible speech rate is proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from phi4audio_cli.tasks.chunk_answers import chunk_of
from phi4audio_cli.tasks.long_form import format_timestamp
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
"""Seconds of speech without text that are worth a question; shorter ones may be a cough."""

MAX_WORDS_PER_SECOND = 8.0
"""Nobody says more for longer than a moment; fast talkers reach 5."""

MAX_FOREIGN_SHARE = 0.2
"""Share of a recording's letters in other scripts, up to which these are not one of its languages.
"""

SPEECH_EDGE_SECONDS = 0.5
"""What a detector misses at the edges of speech."""


def suspected_defects(answer: Generation, language: str | None) -> tuple[str, ...]:
    """Return why an answer should be looked at again.

    Args:
        answer: About a chunk.
        language: English name of the language it must be in; None: any the model hears.

    Returns:
        Some of `empty`, `error_message`, `echo`, `script`, `loop`, `rate` (more words than can be said)
        and `length` (the token budget ran out), in this order.
    """
    text, chunk = answer.text, chunk_of(answer)
    loops = is_repetitive(text)
    found = {
        "empty": not text and speech_seconds(chunk) >= MIN_SPEECH_SECONDS,
        "refusal": is_refusal(text),
        "echo": is_prompt_echo(text, answer.request.prompt),
        "script": is_wrong_script(text, language),
        "loop": loops,
        "rate": not loops and _exceeds_speech_rate(text, chunk.seconds),
        "length": answer.finish == "length",
    }
    return tuple(name for name, holds in found.items() if holds)


def confirmed_defects(answer: Generation, language: str | None) -> tuple[str, ...]:
    """Return what is wrong with an answer for sure; like `suspected_defects`, but repeating is no fault.

    It is where the budget ran out, or nobody could repeat so fast.
    """
    found = suspected_defects(answer, language)
    if "loop" in found and not is_confirmed_loop(answer):
        return tuple(name for name in found if name != "loop")
    return found


def is_confirmed_loop(answer: Generation) -> bool:
    """Whether a text that repeats can't have been said: it has no end, or no time."""
    chunk = chunk_of(answer)
    seconds = speech_seconds(chunk) or chunk.seconds
    return answer.finish == "length" or _exceeds_speech_rate(answer.text, seconds)


def flag_wrong_script(segments: Sequence[Segment], language: str | None) -> list[Segment]:
    """Flag segments that are not in the recording's script, once its language is known.

    Args:
        segments: Of one recording.
        language: English name of its language, given or detected; None: nothing is flagged.
    """
    text = "".join(segment.text for segment in segments)
    if language is None or foreign_share(text, scripts_of(language)) > MAX_FOREIGN_SHARE:
        return list(segments)  # unknown, or two languages are spoken
    return [
        replace(segment, flags=(*segment.flags, "script"))
        if "script" not in segment.flags and is_wrong_script(segment.text, language)
        else segment
        for segment in segments
    ]


def speech_seconds(chunk: Chunk) -> float:
    """Return the seconds of a chunk in which speech was heard; 0 where nobody listened."""
    return sum(len(span) for span in chunk.speech) / chunk.sample_rate


def _exceeds_speech_rate(text: str, seconds: float) -> bool:
    return count_words(text) > MAX_WORDS_PER_SECOND * (seconds + SPEECH_EDGE_SECONDS)


MAX_UNCOVERED_SHARE = 0.05
"""Share of speech that may have no text without a word about it: detectors hear noise, too."""

MAX_LISTED_SEGMENTS = 5
"""Doubtful places that are named; the JSON has them all."""


def quality_warnings(result: Result, max_uncovered: float = MAX_UNCOVERED_SHARE) -> tuple[str, ...]:
    """Return what speaks against a result, in short lines; none where nothing does.

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


def _segment_warnings(result: Transcript | Translation, max_uncovered: float) -> Iterator[str]:
    if doubtful := [segment for segment in result.segments if segment.flags]:
        yield _describe_flagged(doubtful)
    speech = result.speech or 0.0
    if result.uncovered > max_uncovered * speech:
        yield f"{result.uncovered:.1f} s of {speech:.1f} s of speech have no text"


def _describe_flagged(segments: Sequence[Segment]) -> str:
    """Say `2 segments are doubtful: loop at 1:20, length at 3:05`."""
    places = [f"{' and '.join(each.flags)} at {format_timestamp(each.start)}" for each in segments]
    if len(places) > MAX_LISTED_SEGMENTS:
        places = [*places[:MAX_LISTED_SEGMENTS], f"{len(places) - MAX_LISTED_SEGMENTS} more"]
    count = "1 segment is" if len(segments) == 1 else f"{len(segments)} segments are"
    return f"{count} doubtful: {', '.join(places)}"

"""What speaks against an answer: that it is no transcript of what was said.

A text alone proves little: people repeat themselves, and say that they can't hear. So some doubts
are only reasons to ask again, and the answers about the chunk's halves settle them
(`tasks.attempts`). Others are proof: a budget that ran out, more words than anybody can say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from phi4audio_cli.tasks.pieces import heard
from phi4audio_cli.text.echo import is_echo
from phi4audio_cli.text.refusal import is_refusal
from phi4audio_cli.text.repetition import is_repetitive
from phi4audio_cli.text.script import foreign_share, is_other_script, scripts_of
from phi4audio_cli.text.units import word_count
from phi4audio_cli.types import Chunk, Generation, Segment

CLEAR_SPEECH = 1.0
"""Seconds of speech without text that are worth a question; shorter ones may be a cough."""

MOST_WORDS_PER_SECOND = 8.0
"""Nobody says more for longer than a moment; fast talkers reach 5."""

FEW_FOREIGN = 0.2
"""Share of a recording's letters in other scripts, up to which these are not one of its languages.
"""

SPARE_SECONDS = 0.5
"""What a detector misses at the edges of speech."""


def suspicions(answer: Generation, language: str | None) -> tuple[str, ...]:
    """Return why an answer should be looked at again.

    Args:
        answer: About a chunk.
        language: English name of the language it must be in; None: any the model hears.

    Returns:
        Some of `empty`, `refusal`, `echo`, `script`, `loop`, `rate` (more words than can be said)
        and `length` (the token budget ran out), in this order.
    """
    text, chunk = answer.text, heard(answer)
    loops = is_repetitive(text)
    found = {
        "empty": not text and speech_seconds(chunk) >= CLEAR_SPEECH,
        "refusal": is_refusal(text),
        "echo": is_echo(text, answer.request.prompt),
        "script": is_other_script(text, language),
        "loop": loops,
        "rate": not loops and _too_fast(text, chunk.seconds),
        "length": answer.finish == "length",
    }
    return tuple(name for name, holds in found.items() if holds)


def problems(answer: Generation, language: str | None) -> tuple[str, ...]:
    """Return what is wrong with an answer for sure; like `suspicions`, but repeating is no fault.

    It is where the budget ran out, or nobody could repeat so fast.
    """
    found = suspicions(answer, language)
    if "loop" in found and not is_proven_loop(answer):
        return tuple(name for name in found if name != "loop")
    return found


def is_proven_loop(answer: Generation) -> bool:
    """Whether a text that repeats can't have been said: it has no end, or no time."""
    chunk = heard(answer)
    seconds = speech_seconds(chunk) or chunk.seconds
    return answer.finish == "length" or _too_fast(answer.text, seconds)


def with_foreign_marked(segments: Sequence[Segment], language: str | None) -> list[Segment]:
    """Flag segments that are not in the recording's script, once its language is known.

    Args:
        segments: Of one recording.
        language: English name of its language, given or detected; None: nothing is flagged.
    """
    text = "".join(segment.text for segment in segments)
    if language is None or foreign_share(text, scripts_of(language)) > FEW_FOREIGN:
        return list(segments)  # unknown, or two languages are spoken
    return [
        replace(segment, flags=(*segment.flags, "script"))
        if "script" not in segment.flags and is_other_script(segment.text, language)
        else segment
        for segment in segments
    ]


def speech_seconds(chunk: Chunk) -> float:
    """Return the seconds of a chunk in which speech was heard; 0 where nobody listened."""
    return sum(len(span) for span in chunk.speech) / chunk.sample_rate


def _too_fast(text: str, seconds: float) -> bool:
    return word_count(text) > MOST_WORDS_PER_SECOND * (seconds + SPARE_SECONDS)

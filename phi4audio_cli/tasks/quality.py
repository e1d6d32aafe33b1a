"""What a user should know of a result: what is doubtful in it, cut short or left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from phi4audio_cli.tasks.overview import clock
from phi4audio_cli.types import Answer, Result, Segment, Summary, Transcript, Translation

MOST_UNCOVERED = 0.05
"""Share of speech that may have no text without a word about it: detectors hear noise, too."""

MOST_LISTED = 5
"""Doubtful places that are named; the JSON has them all."""


def quality_warnings(result: Result, max_uncovered: float = MOST_UNCOVERED) -> tuple[str, ...]:
    """Return what speaks against a result, in short lines; none where nothing does.

    Args:
        result: Of any task.
        max_uncovered: Share of the speech that may be without text.
    """
    if isinstance(result, Summary | Answer):
        return ("the text may end too early: a token budget ran out",) * (result.finish == "length")
    if isinstance(result, Transcript):
        return tuple(_warnings(result, max_uncovered))
    several = len(result.each) > 1
    return tuple(
        f"{each.language}: {line}" if several else line
        for each in result.each
        for line in _warnings(each, max_uncovered)
    )


def _warnings(result: Transcript | Translation, max_uncovered: float) -> Iterator[str]:
    if doubtful := [segment for segment in result.segments if segment.flags]:
        yield _doubts(doubtful)
    speech = result.speech or 0.0
    if result.uncovered > max_uncovered * speech:
        yield f"{result.uncovered:.1f} s of {speech:.1f} s of speech have no text"


def _doubts(segments: Sequence[Segment]) -> str:
    """Say `2 segments are doubtful: loop at 1:20, length at 3:05`."""
    places = [f"{' and '.join(each.flags)} at {clock(each.start)}" for each in segments]
    if len(places) > MOST_LISTED:
        places = [*places[:MOST_LISTED], f"{len(places) - MOST_LISTED} more"]
    count = "1 segment is" if len(segments) == 1 else f"{len(segments)} segments are"
    return f"{count} doubtful: {', '.join(places)}"

"""Speech recognition: one prompt a chunk of at most 40 s, one segment an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from phi4audio_cli.tasks.attempts import choose
from phi4audio_cli.tasks.doubts import with_foreign_marked
from phi4audio_cli.tasks.pieces import (
    ENCODER_SECONDS,
    aligned_segment,
    by_chunk,
    chunk_segment,
    placed_segment,
    speech_budget,
)
from phi4audio_cli.tasks.prompts import Prompts, fill
from phi4audio_cli.tasks.repair import ask_again
from phi4audio_cli.tasks.segments import MakeSegment, cover, place
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.text.language import detect_language
from phi4audio_cli.text.stitch import join
from phi4audio_cli.types import Chunk, Generation, Request, Transcript

Align: TypeAlias = Literal["attention", "speech", "none"]

SEGMENTS: Mapping[Align, MakeSegment] = {
    "attention": aligned_segment,
    "speech": placed_segment,
    "none": chunk_segment,
}
"""How an answer becomes a segment with times."""


class Transcribe(Task):
    """Transcribe in the language spoken.

    Args:
        language: English name of the language, if known; it makes the prompt more exact.
        chunk_seconds: Longest chunk, at most 40 s.
        align: Where word times come from: the model's `attention`, the places of `speech`, or
            `none`.
        prompts: What is said to the model.
    """

    def __init__(
        self,
        language: str | None = None,
        *,
        chunk_seconds: float = ENCODER_SECONDS,
        align: Align = "attention",
        prompts: Prompts | None = None,
    ) -> None:
        self.language = language
        self.align = align
        self.max_chunk_seconds = min(chunk_seconds, ENCODER_SECONDS)
        self.prompt = transcribe_prompt(prompts or Prompts(), language)

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Ask for the chunk's words."""
        yield Request(
            job,
            chunk,
            self.prompt,
            max_new_tokens=speech_budget(chunk),
            align=self.align == "attention",
        )

    def repair(self, answer: Generation) -> Sequence[Request]:
        """Ask about the halves of a chunk whose answer is doubtful, then with a penalty."""
        return ask_again(answer, self.language)

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Transcript:
        """Make one segment of each chunk that has text; of each half where that is better."""
        kept = [one for of in by_chunk(answers) for one in choose(of, self.language)]
        segments = [segment for _, segment in place(kept, SEGMENTS[self.align])]
        text = join(segment.text for segment in segments)
        language = self.language or detect_language(text)
        coverage = cover(kept)
        return Transcript(
            text=text,
            language=language,
            language_from="given" if self.language else "text" if language else None,
            segments=tuple(with_foreign_marked(segments, language)),
            duration=seconds,
            prompt=self.prompt,
            speech=coverage.speech,
            uncovered=coverage.uncovered,
        )


def transcribe_prompt(prompts: Prompts, language: str | None) -> str:
    """Return the instruction for speech in a known or unknown language."""
    if language is None:
        return prompts.transcribe
    return fill(prompts.transcribe_language, language=language)

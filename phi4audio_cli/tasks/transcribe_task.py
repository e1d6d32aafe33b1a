"""Speech recognition: one request per chunk of at most 40 s, one segment per answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from phi4audio_cli.tasks.chunk_answers import (
    ENCODER_WINDOW_SECONDS,
    aligned_segment,
    chunk_segment,
    group_by_chunk,
    interpolated_segment,
    token_budget,
)
from phi4audio_cli.tasks.prompts import Prompts, fill_placeholders
from phi4audio_cli.tasks.quality import flag_wrong_script
from phi4audio_cli.tasks.retry import retry_requests, select_best
from phi4audio_cli.tasks.segments import SegmentBuilder, build_segments, measure_coverage
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.text.language_detection import detect_language
from phi4audio_cli.text.words import join_texts
from phi4audio_cli.types import Chunk, Generation, Request, Transcript

AlignMode: TypeAlias = Literal["attention", "speech", "none"]

SEGMENT_BUILDERS: Mapping[AlignMode, SegmentBuilder] = {
    "attention": aligned_segment,
    "speech": interpolated_segment,
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
        chunk_seconds: float = ENCODER_WINDOW_SECONDS,
        align: AlignMode = "attention",
        prompts: Prompts | None = None,
    ) -> None:
        self.language = language
        self.align = align
        self.max_chunk_seconds = min(chunk_seconds, ENCODER_WINDOW_SECONDS)
        self.prompt = transcribe_prompt(prompts or Prompts(), language)

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Ask for the chunk's words."""
        yield Request(
            job,
            chunk,
            self.prompt,
            max_new_tokens=token_budget(chunk),
            align=self.align == "attention",
        )

    def retry(self, answer: Generation) -> Sequence[Request]:
        """Ask about the halves of a chunk whose answer is doubtful, then with a penalty."""
        return retry_requests(answer, self.language)

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Transcript:
        """Make one segment of each chunk that has text; of each half where that is better."""
        kept = [one for of in group_by_chunk(answers) for one in select_best(of, self.language)]
        segments = [segment for _, segment in build_segments(kept, SEGMENT_BUILDERS[self.align])]
        text = join_texts(segment.text for segment in segments)
        language = self.language or detect_language(text)
        coverage = measure_coverage(kept)
        return Transcript(
            text=text,
            language=language,
            language_from="given" if self.language else "text" if language else None,
            segments=tuple(flag_wrong_script(segments, language)),
            duration=seconds,
            prompt=self.prompt,
            speech=coverage.speech,
            uncovered=coverage.uncovered,
        )


def transcribe_prompt(prompts: Prompts, language: str | None) -> str:
    """Return the instruction for speech in a known or unknown language."""
    if language is None:
        return prompts.transcribe
    return fill_placeholders(prompts.transcribe_language, language=language)

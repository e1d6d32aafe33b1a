"""Speech recognition: one request per chunk of at most 40 s, one segment per answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from phi4audio_cli.tasks.answer_selection import select_best
from phi4audio_cli.tasks.chunk_answers import (
    group_by_chunk,
    token_budget,
)
from phi4audio_cli.tasks.prompts import Prompts, fill_placeholders
from phi4audio_cli.tasks.quality import assess, flag_wrong_script
from phi4audio_cli.tasks.retry import retry_requests
from phi4audio_cli.tasks.segments import (
    SegmentBuilder,
    aligned_segment,
    build_segments,
    chunk_segment,
    interpolated_segment,
    measure_coverage,
)
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.text.language_detection import detect_language
from phi4audio_cli.text.words import join_texts
from phi4audio_cli.types import ENCODER_WINDOW_SECONDS, Chunk, Generation, Request, Transcript

AlignMode: TypeAlias = Literal["attention", "speech", "none"]

SEGMENT_BUILDERS: Mapping[AlignMode, SegmentBuilder] = {
    "attention": aligned_segment,
    "speech": interpolated_segment,
    "none": chunk_segment,
}
"""The function that makes a segment with times of an answer, by the source of its times."""


class Transcribe(Task):
    """Transcribe in the spoken language.

    Args:
        language: English name of the language, if known; it is named in the prompt.
        chunk_seconds: Longest chunk, at most 40 s.
        align: Source of word times: the model's `attention`, the detected `speech`, or `none`.
        prompts: The prompts of the model.
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
        """Return one request for the words of the chunk."""
        yield Request(
            job,
            chunk,
            self.prompt,
            max_new_tokens=token_budget(chunk),
            align=self.align == "attention",
        )

    def retry(self, answer: Generation) -> Sequence[Request]:
        """Return requests about the halves of the chunk, then with a repetition penalty."""
        return retry_requests(assess(answer, self.language))

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Transcript:
        """Make one segment of each chunk that has text, or of each half where that is better."""
        selected = [
            one
            for group in group_by_chunk(answers)
            for one in select_best([assess(answer, self.language) for answer in group])
        ]
        builder = SEGMENT_BUILDERS[self.align]
        segments = [segment for _, segment in build_segments(selected, builder)]
        text = join_texts(segment.text for segment in segments)
        language = self.language or detect_language(text)
        coverage = measure_coverage(selected)
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
    """Return the prompt for speech in a known or an unknown language."""
    if language is None:
        return prompts.transcribe
    return fill_placeholders(prompts.transcribe_language, language=language)

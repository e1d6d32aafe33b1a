"""Speech recognition: one prompt a chunk of at most 40 s, one segment an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from phi4audio_cli.tasks.pieces import ENCODER_SECONDS, chunk_segment, speech_budget
from phi4audio_cli.tasks.prompts import Prompts, fill
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.text.stitch import join
from phi4audio_cli.types import Chunk, Generation, Request, Transcript


class Transcribe(Task):
    """Transcribe in the language spoken.

    Args:
        language: English name of the language, if known; it makes the prompt more exact.
        chunk_seconds: Longest chunk, at most 40 s.
        prompts: What is said to the model.
    """

    def __init__(
        self,
        language: str | None = None,
        *,
        chunk_seconds: float = ENCODER_SECONDS,
        prompts: Prompts | None = None,
    ) -> None:
        self.language = language
        self.max_chunk_seconds = min(chunk_seconds, ENCODER_SECONDS)
        self.prompt = transcribe_prompt(prompts or Prompts(), language)

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Ask for the chunk's words."""
        yield Request(job, chunk, self.prompt, max_new_tokens=speech_budget(chunk))

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Transcript:
        """Make one segment of each answer that has text; its times are the chunk's."""
        told = [answer for answer in answers if answer.text]
        segments = tuple(chunk_segment(index, answer) for index, answer in enumerate(told))
        return Transcript(
            text=join(segment.text for segment in segments),
            language=self.language,
            segments=segments,
            duration=seconds,
            prompt=self.prompt,
        )


def transcribe_prompt(prompts: Prompts, language: str | None) -> str:
    """Return the instruction for speech in a known or unknown language."""
    if language is None:
        return prompts.transcribe
    return fill(prompts.transcribe_language, language=language)

"""Speech recognition: one prompt a chunk of at most 40 s, one segment an answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from phi4audio_cli.text.stitch import join
from phi4audio_cli.types import Chunk, Generation, Request, Segment, Transcript

LOGPROB_DIGITS = 3


class Transcribe:
    """Transcribe in the language spoken.

    Args:
        language: English name of the language, if known; it makes the prompt more exact.
    """

    max_chunk_seconds = 40.0
    """The encoder attends to 40 s at once (500 frames of 80 ms)."""
    tokens_per_second = 15
    """Far above speech: fast talkers reach about 5 words a second."""
    spare_tokens = 64

    def __init__(self, language: str | None = None) -> None:
        self.language = language
        named = f"{language} " if language else ""
        self.prompt = f"Transcribe the {named}audio clip into text."

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Ask for the chunk's words."""
        budget = self.spare_tokens + math.ceil(self.tokens_per_second * chunk.seconds)
        yield Request(job=job, chunk=chunk, prompt=self.prompt, max_new_tokens=budget)

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Transcript:
        """Make one segment of each answer that has text; its times are the chunk's."""
        heard = [answer for answer in answers if answer.text]
        segments = tuple(_segment(index, answer) for index, answer in enumerate(heard))
        return Transcript(
            text=join(segment.text for segment in segments),
            language=self.language,
            segments=segments,
            duration=seconds,
            prompt=self.prompt,
        )


def _segment(index: int, answer: Generation) -> Segment:
    chunk = answer.request.chunk
    logprob = answer.avg_logprob
    return Segment(
        id=index,
        start=chunk.start_seconds,
        end=chunk.stop_seconds,
        text=answer.text,
        times_from="chunk",
        avg_logprob=None if logprob is None else round(logprob, LOGPROB_DIGITS),
        finish=answer.finish,
    )

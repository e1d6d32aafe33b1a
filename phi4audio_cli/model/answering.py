"""From a finished row to the answer of its request: text, and words found in the audio."""

from __future__ import annotations

from phi4audio_cli.model.align import align
from phi4audio_cli.model.failures import not_finite
from phi4audio_cli.model.inputs import InputBuilder
from phi4audio_cli.model.writing import Row, Writer
from phi4audio_cli.types import Generation, Request, RequestFailed, Word

WORD_DIGITS = 3


class Answering:
    """Makes answers of rows.

    Args:
        inputs: Turns tokens into text.
    """

    def __init__(self, inputs: InputBuilder) -> None:
        self.inputs = inputs

    def complete(self, request: Request, row: Row, writer: Writer) -> Generation | RequestFailed:
        """Return the answer; of a row whose numbers overflowed there is none.

        Args:
            request: What was asked.
            row: Done, and still in its slot.
            writer: Wrote it.
        """
        if not row.answer.sound:
            return RequestFailed(request, not_finite(request, writer.dtype))
        words: tuple[Word, ...] = ()
        if request.align:
            words = align(writer.decoder, row, self.inputs.decode_raw)
        offset = request.chunk.start_seconds if request.chunk else 0.0
        return Generation(
            request=request,
            text=self.inputs.decode(row.answer.tokens),
            tokens=tuple(row.answer.tokens),
            logprobs=tuple(row.answer.logprobs),
            finish=row.answer.finish,
            words=tuple(_rounded(word, offset) for word in words),
        )


def _rounded(word: Word, offset: float) -> Word:
    """Move a word by `offset` seconds; further digits would depend on how rows were batched."""
    probability = None if word.probability is None else round(word.probability, WORD_DIGITS)
    return Word(
        word.word,
        start=round(word.start + offset, WORD_DIGITS),
        end=round(word.end + offset, WORD_DIGITS),
        probability=probability,
    )

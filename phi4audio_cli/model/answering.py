"""One batch of requests through the network: heard, answered, and its words found in the audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from phi4audio_cli.model.align import align
from phi4audio_cli.model.batches import Hearing
from phi4audio_cli.model.failures import not_finite
from phi4audio_cli.model.generate import Answer, generate
from phi4audio_cli.model.inputs import InputBuilder, Pending
from phi4audio_cli.model.memory import ENCODER_SECONDS
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.types import Generation, Request, Unanswered, Word

WORD_DIGITS = 3


class Answering:
    """Answers one batch at a time; each answer is the one its request would get alone.

    Args:
        model: On its device, in evaluation mode.
        inputs: Turns tokens into text.
        stop_tokens: Ids that end an answer.
        tell: Told what goes on during a long pass, and an empty text when it is over.
    """

    def __init__(
        self,
        model: Phi4AudioForCausalLM,
        inputs: InputBuilder,
        stop_tokens: frozenset[int],
        tell: Callable[[str], None],
    ) -> None:
        self.model = model
        self.inputs = inputs
        self.stop_tokens = stop_tokens
        self.tell = tell

    def answer(self, batch: list[Pending], hearing: Hearing) -> list[Generation | Unanswered]:
        """Answer a batch; requests whose numbers overflow come back unanswered, the others don't.

        Raises:
            Exception: Whatever the network raises; nothing is lost, `hearing` still has all.
        """
        rows = [row for _, row in batch]
        with self._told(batch) as tell:
            heard = hearing.of(rows)
            answers = generate(self.model, rows, self.stop_tokens, heard, tell)
        sound = [_is_sound(*each) for each in zip(heard, answers, strict=True)]
        words = self._align(batch, heard, answers, sound)
        hearing.let_go(rows)
        dtype = self.model.get_input_embeddings().weight.dtype
        return [
            self._generation(request, answer, found)
            if fine
            else Unanswered(request, not_finite(request, dtype))
            for (request, _), answer, found, fine in zip(batch, answers, words, sound, strict=True)
        ]

    @contextmanager
    def _told(self, batch: list[Pending]) -> Iterator[Callable[[str], None]]:
        """Tell the stages of a pass long enough to wonder about."""
        seconds = sum(request.chunk.seconds for request, _ in batch[:1] if request.chunk)
        if seconds <= ENCODER_SECONDS:
            yield lambda stage: None
            return
        minutes, rest = divmod(round(seconds), 60)
        self.tell(f"hearing {minutes}:{rest:02} of audio")
        try:
            yield self.tell
        finally:
            self.tell("")

    def _align(
        self,
        batch: list[Pending],
        heard: list[torch.Tensor],
        answers: list[Answer],
        sound: list[bool],
    ) -> list[tuple[Word, ...]]:
        """Find the words of the sound answers that want it; the others have none."""
        words: list[tuple[Word, ...]] = [()] * len(batch)
        wanted = [
            place for place, (request, _) in enumerate(batch) if request.align and sound[place]
        ]
        if wanted:
            found = align(
                self.model,
                [batch[place][1] for place in wanted],
                [heard[place] for place in wanted],
                [answers[place] for place in wanted],
                self.inputs.decode_raw,
            )
            for place, aligned in zip(wanted, found, strict=True):
                words[place] = aligned
        return words

    def _generation(self, request: Request, answer: Answer, words: tuple[Word, ...]) -> Generation:
        offset = request.chunk.start_seconds if request.chunk else 0.0
        return Generation(
            request=request,
            text=self.inputs.decode(answer.tokens),
            tokens=tuple(answer.tokens),
            logprobs=tuple(answer.logprobs),
            finish=answer.finish,
            words=tuple(_rounded(word, offset) for word in words),
        )


def _is_sound(heard: torch.Tensor, answer: Answer) -> bool:
    """Whether a row's numbers stayed finite. One row's don't touch the others in its batch."""
    return bool(heard.isfinite().all()) and answer.sound


def _rounded(word: Word, offset: float) -> Word:
    """Move a word by `offset` seconds; further digits would depend on how rows were batched."""
    probability = None if word.probability is None else round(word.probability, WORD_DIGITS)
    return Word(
        word.word,
        start=round(word.start + offset, WORD_DIGITS),
        end=round(word.end + offset, WORD_DIGITS),
        probability=probability,
    )

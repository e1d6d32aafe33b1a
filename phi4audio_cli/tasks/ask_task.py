"""Answers to written or spoken questions about recordings of any length."""

from __future__ import annotations

from collections.abc import Sequence

from phi4audio_cli.tasks.long_form import MAX_PART_MINUTES, LongFormTask
from phi4audio_cli.tasks.prompts import Prompts, fill_placeholders
from phi4audio_cli.types import Answer, Generation

SPOKEN_QUESTION = "the one that is spoken in the recording"
ANSWER_TOKENS = 768
"""Token budget of an answer."""


class Ask(LongFormTask):
    """Answer a question about a recording.

    Args:
        question: None: the model answers the question that is spoken in the audio.
        system: The system prompt.
        minutes: Longest part, at most 30.
        prompts: The prompts of the model.
    """

    variants = ("answer",)
    formats = ("txt", "json")
    format_error = "an answer is about the whole recording and has no times"

    def __init__(
        self,
        question: str | None = None,
        *,
        system: str = "",
        minutes: float = MAX_PART_MINUTES,
        prompts: Prompts | None = None,
    ) -> None:
        super().__init__(minutes, max_new_tokens=ANSWER_TOKENS, system=system)
        self.question = question
        self._prompts = prompts or Prompts()

    @property
    def prompt(self) -> str:
        """The question; empty for a spoken question, as in the model's training."""
        return self.question or ""

    def joining_prompt(self, parts: str) -> str:
        """Return the prompt that joins several answers."""
        question = self.question or SPOKEN_QUESTION
        return fill_placeholders(self._prompts.join_answers, question=question, parts=parts)

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Answer:
        """Return the answer with the answers about the parts."""
        parts = self.parts(answers)
        return Answer(
            text=self.joined_text(answers),
            question=self.question,
            parts=parts,
            duration=seconds,
            prompt=self.prompt,
            joining_prompt=self.joining_prompt("{parts}") if len(parts) > 1 else None,
            finish=self.finish_reason(answers),
            system=self.system,
        )

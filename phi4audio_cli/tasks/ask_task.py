"""Answers to written or spoken questions about recordings of any length."""

from __future__ import annotations

from collections.abc import Sequence

from phi4audio_cli.tasks.long_form import MAX_PART_MINUTES, LongFormTask
from phi4audio_cli.tasks.prompts import Prompts, fill_placeholders
from phi4audio_cli.types import Answer, Generation

SPOKEN_QUESTION = "the one that is spoken in the recording"
ANSWER_TOKENS = 768
"""Budget of an answer."""


class Ask(LongFormTask):
    """Answer a question about a recording.

    Args:
        question: None answers the question that is spoken in the audio.
        system: What the model is told before the user's turn.
        minutes: Longest stretch heard at once, at most 30.
        prompts: What is said to the model.
    """

    variants = ("answer",)
    formats = ("txt", "json")
    format_error = "an answer is about the whole recording: it has no times to show it at"

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
        """The question itself; nothing for a spoken one, as the model was trained."""
        return self.question or ""

    def joining_prompt(self, parts: str) -> str:
        """Return the instruction to make one answer of several."""
        question = self.question or SPOKEN_QUESTION
        return fill_placeholders(self._prompts.join_answers, question=question, parts=parts)

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Answer:
        """Return the one answer, and those about the parts."""
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

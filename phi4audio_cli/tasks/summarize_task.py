"""Summaries of recordings of any length, in several styles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args

from phi4audio_cli.formatting import format_timestamp
from phi4audio_cli.tasks.long_form import MAX_PART_MINUTES, LongFormTask
from phi4audio_cli.tasks.prompts import Prompts, fill_placeholders
from phi4audio_cli.types import Generation, Part, Summary

SummaryStyle = Literal["paragraph", "bullets", "minutes", "headline"]
SUMMARY_STYLES: tuple[SummaryStyle, ...] = get_args(SummaryStyle)

MINUTES_STYLE_PART_MINUTES = 5.0
"""Longest part in the style `minutes`: points have the times of their part."""

TOKEN_BUDGETS = {"paragraph": 512, "bullets": 768, "minutes": 512, "headline": 64}
"""Token budget of an answer, by style."""

BULLET_PATTERN = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+")


class Summarize(LongFormTask):
    """Summarize a recording.

    Args:
        style: `paragraph`, `bullets`, `minutes` (points with times) or `headline`.
        prompt: Replaces the prompt of the style.
        language: English name of the language of the summary; None: the model chooses.
        minutes: Longest part, at most 30.
        prompts: The prompts of the model.
    """

    variants = ("summary",)
    formats = ("txt", "md", "json")
    format_error = "a summary is about the whole recording and has no times"

    def __init__(
        self,
        style: SummaryStyle = "paragraph",
        *,
        prompt: str | None = None,
        language: str | None = None,
        minutes: float = MAX_PART_MINUTES,
        prompts: Prompts | None = None,
    ) -> None:
        if style == "minutes":
            minutes = min(minutes, MINUTES_STYLE_PART_MINUTES)
        super().__init__(minutes, max_new_tokens=TOKEN_BUDGETS[style])
        self.style: SummaryStyle = style
        self.language = language
        self._custom = prompt
        self._prompts = prompts or Prompts()

    @property
    def prompt(self) -> str:
        """The user's prompt, or the prompt of the style."""
        return self._in_language(self._custom or getattr(self._prompts, self.style))

    def joining_prompt(self, parts: str) -> str:
        """Return the prompt that joins several summaries."""
        if self._custom:
            joining = fill_placeholders(self._prompts.join_custom, prompt=self._custom, parts=parts)
        else:
            joining = fill_placeholders(getattr(self._prompts, f"join_{self.style}"), parts=parts)
        return self._in_language(joining)

    def _in_language(self, prompt: str) -> str:
        if self.language is None:
            return prompt
        return fill_placeholders(self._prompts.in_language, prompt=prompt, language=self.language)

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Summary:
        """Return the summary with the texts of its parts."""
        parts = self.parts(answers)
        text = self.joined_text(answers)
        if self.style == "minutes":
            text = _format_minutes(text if len(parts) > 1 else "", parts)
        return Summary(
            text=text,
            language=self.language,
            style=self.style,
            parts=parts,
            duration=seconds,
            prompt=self.prompt,
            joining_prompt=self.joining_prompt("{parts}") if len(parts) > 1 else None,
            finish=self.finish_reason(answers),
        )


def _format_minutes(introduction: str, parts: Sequence[Part]) -> str:
    """Return the points of each part under its times."""
    blocks = [introduction] if introduction else []
    for part in parts:
        lines = (BULLET_PATTERN.sub("", line).strip() for line in part.text.splitlines())
        points = "\n".join(f"- {line}" for line in lines if line)
        blocks.append(f"{format_timestamp(part.start)} to {format_timestamp(part.end)}\n{points}")
    return "\n\n".join(blocks)

"""All prompts of the model; a configuration file can replace each of them.

The prompts for speech recognition and translation are those of the published model card, on which
the model was trained.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from phi4audio_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompt templates; names in braces are placeholders."""

    transcribe: str = "Transcribe the audio clip into text."
    transcribe_language: str = "Transcribe the {language} audio clip into text."
    translate: str = "Translate the audio to {language}."
    transcribe_translate: str = (
        "Transcribe the audio to text, and then translate the audio to {language}. "
        "Use <sep> as a separator between the original transcript and the translation."
    )
    paragraph: str = "Summarize the audio."
    bullets: str = "Summarize the audio in bullet points."
    minutes: str = "List the main points of the audio, one on each line."
    headline: str = "Summarize the audio in one short headline."
    in_language: str = "{prompt} Write in {language}."
    join_paragraph: str = (
        "These are summaries of the parts of one recording, with their times. "
        "Write one summary of the whole recording.\n\n{parts}"
    )
    join_bullets: str = (
        "These are summaries of the parts of one recording, with their times. "
        "Summarize the whole recording in bullet points.\n\n{parts}"
    )
    join_minutes: str = (
        "These are the main points of the parts of one recording, with their times. "
        "Say in one or two sentences what the whole recording is about.\n\n{parts}"
    )
    join_headline: str = (
        "These are headlines of the parts of one recording, with their times. "
        "Write one short headline for the whole recording.\n\n{parts}"
    )
    join_custom: str = (
        "These are answers about the parts of one recording, with their times. The instruction "
        "was: {prompt}\nFollow it for the whole recording.\n\n{parts}"
    )
    join_answers: str = (
        "A question was asked about each part of one recording: {question}\n"
        "These are the answers, with the times of the parts. "
        "Answer the question for the whole recording.\n\n{parts}"
    )

    @classmethod
    def with_overrides(cls, texts: Mapping[str, str]) -> Prompts:
        """Return the default prompts with some of them replaced.

        Args:
            texts: Prompts by the name of a field.

        Raises:
            UsageError: A name is unknown, or a prompt lacks a placeholder.
        """
        defaults = {each.name: str(each.default) for each in fields(cls)}
        for name, text in texts.items():
            if name not in defaults:
                raise _unknown_prompt_error(name, list(defaults))
            for slot in _placeholders(defaults[name]):
                if slot not in text:
                    raise UsageError(
                        f"the text leaves out {slot}", f"prompts.{name}", f"put {slot} in it"
                    )
        return cls(**{**defaults, **texts})


def fill_placeholders(template: str, **values: str) -> str:
    """Replace names in braces by values; other braces stay."""
    # One pass, because the values come from users and may have braces.
    names = "|".join(map(re.escape, values))
    return re.sub("{(" + names + ")}", lambda found: values[found[1]], template)


def _placeholders(template: str) -> list[str]:
    names = ("language", "prompt", "question", "parts")
    return ["{" + name + "}" for name in names if "{" + name + "}" in template]


def _unknown_prompt_error(name: str, known: list[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return UsageError(
        "unknown prompt", f"prompts.{name}", f"{hint}the prompts are {', '.join(known)}"
    )

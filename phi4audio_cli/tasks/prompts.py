"""Every word that is said to the model, in one place; a configuration file can change each.

Those for speech recognition and translation are the ones of the published model card (what the
model was trained on); change them only with a reason.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from phi4audio_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Prompts:
    """The instructions; names in braces are filled in."""

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
        """Return the defaults with some texts replaced.

        Args:
            texts: By the name of a field.

        Raises:
            UsageError: No such prompt, or one that leaves out what has to be filled in.
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
    """Put values in the places of their names in braces; other braces stay as they are."""
    # In one go: what was filled in is never searched itself, and users write braces, too.
    names = "|".join(map(re.escape, values))
    return re.sub("{(" + names + ")}", lambda found: values[found[1]], template)


def _placeholders(template: str) -> list[str]:
    names = ("language", "prompt", "question", "parts")
    return ["{" + name + "}" for name in names if "{" + name + "}" in template]


def _unknown_prompt_error(name: str, known: list[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return UsageError("no such prompt", f"prompts.{name}", f"{hint}known are {', '.join(known)}")

"""Builds the tasks of the commands and of the Python API from settings and options."""

from __future__ import annotations

from collections.abc import Sequence

from phi4audio_cli.errors import UsageError
from phi4audio_cli.languages import Language, find_language
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.ask_task import Ask
from phi4audio_cli.tasks.long_form import MAX_PART_MINUTES
from phi4audio_cli.tasks.prompts import Prompts
from phi4audio_cli.tasks.summarize_task import SUMMARY_STYLES, Summarize, SummaryStyle
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.tasks.translate_task import Translate


def transcribe_task(settings: Settings, *, with_word_times: bool = True) -> Transcribe:
    """Build the task of `transcribe`; without word times it needs one pass less per chunk."""
    return Transcribe(
        settings.language,
        chunk_seconds=settings.chunk_seconds,
        align=settings.align if with_word_times else "none",
        prompts=Prompts.with_overrides(settings.prompts),
    )


def translate_task(
    settings: Settings,
    *,
    to: str | Sequence[str],
    with_transcript: bool = False,
    bilingual: bool = False,
) -> Translate:
    """Build the task of `translate`.

    Args:
        settings: Of the run.
        to: Languages by name or code, with commas between or as a sequence.
        with_transcript: Whether segments get the transcript, too.
        bilingual: Whether subtitles show the transcript, too.

    Raises:
        UsageError: The model writes no such language.
    """
    return Translate(
        find_target_languages(to),
        settings.language,
        with_transcript=with_transcript,
        bilingual=bilingual,
        chunk_seconds=settings.chunk_seconds,
        prompts=Prompts.with_overrides(settings.prompts),
    )


def find_target_languages(names: str | Sequence[str], *, option: str = "to") -> list[Language]:
    """Find languages to translate into, without duplicates, in the order given.

    Raises:
        UsageError: The model writes no such language, or none is given.
    """
    parts = [names] if isinstance(names, str) else names
    given = (name for part in parts for name in part.split(",") if name.strip())
    found = list(dict.fromkeys(find_language(name, option=option) for name in given))
    if not found:
        raise UsageError("no language is given", option, "name one, such as French")
    return found


def summarize_task(
    settings: Settings,
    *,
    style: SummaryStyle = "paragraph",
    prompt: str | None = None,
    to: str | None = None,
    max_minutes: float = MAX_PART_MINUTES,
) -> Summarize:
    """Build the task of `summarize`.

    Args:
        settings: Of the run.
        style: Style of the summary.
        prompt: Instruction in place of the style's.
        to: Language of the summary, by name or code; None: the model chooses.
        max_minutes: Longest part that the model gets at once, at most 30.

    Raises:
        UsageError: An unknown style or language, or `max_minutes` is not above 0.
    """
    if style not in SUMMARY_STYLES:
        raise UsageError("unknown style", repr(style), f"give {', '.join(SUMMARY_STYLES)}")
    _check_minutes(max_minutes)
    return Summarize(
        style,
        prompt=prompt,
        language=find_language(to, option="to").name if to else None,
        minutes=max_minutes,
        prompts=Prompts.with_overrides(settings.prompts),
    )


def ask_task(
    settings: Settings,
    *,
    question: str | None = None,
    system: str = "",
    max_minutes: float = MAX_PART_MINUTES,
) -> Ask:
    """Build the task of `ask`; without a question, the one that is spoken is answered.

    Raises:
        UsageError: `max_minutes` is not above 0.
    """
    _check_minutes(max_minutes)
    prompts = Prompts.with_overrides(settings.prompts)
    return Ask(question, system=system, minutes=max_minutes, prompts=prompts)


def _check_minutes(minutes: float) -> None:
    if not 0 < minutes <= MAX_PART_MINUTES:
        remedy = f"give a number above 0, at most {MAX_PART_MINUTES:.0f}"
        raise UsageError(f"invalid length {minutes}", "max_minutes", remedy)

"""Summaries and answers as plain text, Markdown, and JSON with their parts."""

from __future__ import annotations

from typing import Any

from phi4audio_cli.errors import UsageError
from phi4audio_cli.formatting import format_timestamp
from phi4audio_cli.types import Answer, Metadata, Part, Summary
from phi4audio_cli.writers import transcript_json

LONG_FORM_FORMATS = ("txt", "md", "json")
"""Output formats of summaries and answers."""

NO_TIMES_MESSAGE = "its text belongs to the whole recording, so there are no times to show it at"


def render(form: str, result: Summary | Answer, metadata: Metadata) -> str:
    """Return the content of a summary's or an answer's file.

    Raises:
        UsageError: A format that needs times.
    """
    if form == "txt":
        return f"{result.text}\n" if result.text else ""
    if form == "md":
        return _markdown(result, metadata)
    if form == "json":
        return transcript_json.dump(_to_document(result, metadata))
    raise UsageError(
        NO_TIMES_MESSAGE, f"--format {form}", f"it can be {', '.join(LONG_FORM_FORMATS)}"
    )


def _markdown(result: Summary | Answer, metadata: Metadata) -> str:
    question = result.question if isinstance(result, Answer) else None
    blocks = [f"# {_escape_heading(question or metadata.source)}", result.text]
    # The text of minutes contains its points with their times already.
    if len(result.parts) > 1 and not (isinstance(result, Summary) and result.style == "minutes"):
        blocks += [
            f"## {format_timestamp(part.start)} to {format_timestamp(part.end)}\n\n{part.text}"
            for part in result.parts
        ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _escape_heading(text: str) -> str:
    """Return a text that is one Markdown heading, whatever characters a file name has."""
    return " ".join(text.split()).replace("<", "&lt;")


def _to_document(result: Summary | Answer, metadata: Metadata) -> dict[str, Any]:
    entries: dict[str, Any] = {
        "schema_version": transcript_json.SCHEMA_VERSION,
        "phi4audio": metadata.version,
        "model": metadata.model,
        "source": metadata.source,
        "task": result.task,
        "prompt": result.prompt,
        "joining_prompt": result.joining_prompt,
        "duration": result.duration,
        "language": transcript_json.language_code(result.language),
    }
    if isinstance(result, Answer):
        entries |= {"question": result.question, "system": result.system or None}
    else:
        entries["style"] = result.style
    entries["finish"] = result.finish
    return entries | {"text": result.text, "parts": [_part_entry(part) for part in result.parts]}


def _part_entry(part: Part) -> dict[str, Any]:
    return {
        "start": part.start,
        "end": part.end,
        "text": part.text,
        "avg_logprob": transcript_json.finite_or_none(part.avg_logprob),
        "finish": part.finish,
    }

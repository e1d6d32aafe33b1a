"""The published JSON Schema, and reading transcripts back."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.types import Metadata, Segment, Transcript, Word
from phi4audio_cli.writers import render
from phi4audio_cli.writers.transcript_json import json_schema, parse_transcript

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "transcript.schema.json"
METADATA = Metadata(source="talk.wav", model="demo", version="0.1.0")


def transcript() -> Transcript:
    words = (Word("one", 0.5, 1.0, 0.9), Word(" two", 1.5, 2.0))
    segments = (
        Segment(0, 0.5, 2.0, "one two", "attention", -0.1, words=words),
        Segment(
            1, 4.0, 9.0, "drei", "chunk", finish="length", speaker="left",
            flags=("loop", "length"), tried=("first", "halves"),
        ),
    )  # fmt: skip
    return Transcript(
        "one two drei", "German", segments, 9.5, "Write.", language_from="text",
        speech=8.25, uncovered=1.5,
    )  # fmt: skip


def test_a_written_transcript_is_read_back_unchanged():
    written = render("json", transcript(), METADATA)
    assert parse_transcript(written, "talk.json") == (transcript(), METADATA)


def test_a_written_transcript_fits_the_published_schema():
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert schema == json_schema(), "run python -m tools.make_schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    entries = json.loads(render("json", transcript(), METADATA))
    jsonschema.validate(entries, schema)
    assert set(entries) == set(schema["properties"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("schema_version"), "not a transcript of phi4audio"),
        (lambda d: d.update(schema_version="7"), "schema version 7 is unknown"),
        (lambda d: d.pop("text"), "text: Field required"),
        (lambda d: d["segments"][0].pop("start"), "segments.0.start: Field required"),
        (lambda d: d["segments"][0].update(start="soon"), "segments.0.start"),
    ],
)
def test_errors_name_the_invalid_key(change, message):
    entries = json.loads(render("json", transcript(), METADATA))
    change(entries)
    with pytest.raises(UsageError, match=message) as caught:
        parse_transcript(json.dumps(entries), "talk.json")
    assert caught.value.where == "talk.json"


@pytest.mark.parametrize("content", ["", "not json", '{"text": ', "[1, 2]", '"a"'])
def test_a_broken_file_is_a_clear_error(content):
    with pytest.raises(UsageError, match=r"not valid JSON|not a transcript"):
        parse_transcript(content, "talk.json")


def test_a_file_of_an_older_version_is_read():
    entries = json.loads(render("json", transcript(), METADATA))
    for key in ("speech", "uncovered"):
        del entries[key]
    for segment in entries["segments"]:
        for key in ("words_per_second", "repetition", "flags", "tried", "speaker"):
            segment.pop(key, None)
    result, _ = parse_transcript(json.dumps(entries), "talk.json")
    assert (result.speech, result.uncovered, result.text) == (None, 0, transcript().text)


def test_unknown_keys_are_ignored():
    entries = json.loads(render("json", transcript(), METADATA)) | {"mood": "calm"}
    assert parse_transcript(json.dumps(entries), "talk.json")[0] == transcript()

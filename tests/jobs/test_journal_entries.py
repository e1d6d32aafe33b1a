"""The journal format: damaged lines are ignored, and data is restored exactly."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.jobs.journal_entries import (
    JournalEntries,
    answer_from_json,
    answer_to_json,
    encode_line,
    read_journal,
    request_key,
    round_trip_result,
)
from phi4audio_cli.types import Answer, Generation, Part, Summary, Translation, Translations

from .journal_helpers import TRANSCRIPT, answer, request


@given(data=st.data())
def test_any_cut_leaves_the_complete_lines_before_it(data) -> None:
    lines = [b"%08x %s\n" % (zlib.crc32(c), c) for c in (b'{"a": 1}', b'{"b": {}}')]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    entries = JournalEntries.parse(whole[:cut])
    assert entries.valid_bytes == max(n for n in (0, len(lines[0]), len(whole)) if n <= cut)
    complete = sum(entries.valid_bytes >= n for n in (len(lines[0]), len(whole)))
    assert len(entries.contents) == complete


@given(data=st.data())
def test_any_changed_byte_invalidates_its_line_and_the_later_ones(data) -> None:
    lines = [encode_line("header", {"model": "m"})]
    lines += [encode_line("answer", {"key": str(n), "text": "tëxt\n"}) for n in range(3)]
    changed = bytearray(b"".join(lines))
    position = data.draw(st.integers(0, len(changed) - 1))
    line = bytes(changed[:position]).count(b"\n")
    changed[position] ^= data.draw(st.integers(1, 255))
    assert len(JournalEntries.parse(bytes(changed)).contents) == line


def test_a_missing_journal_is_empty(tmp_path: Path) -> None:
    entries = read_journal(tmp_path / "missing")
    assert (entries.header, entries.done, entries.answers()) == (None, None, {})


def test_entries_are_found_by_kind() -> None:
    lines = [("header", {"model": "m"}), ("answer", {"key": "k"}), ("done", {"kind": "Transcript"})]
    entries = JournalEntries.parse(b"".join(encode_line(*line) for line in lines))
    assert entries.header == {"model": "m"}
    assert entries.answers() == {"k": {"key": "k"}}
    assert entries.done == {"kind": "Transcript"}


def test_request_keys_differ_with_every_field_that_matters() -> None:
    first = request(label="fr", attempt="penalty")
    assert first.chunk is not None
    assert request_key(replace(first)) == request_key(first)
    others = [
        request(51), replace(first, max_new_tokens=11), replace(first, label="de"),
        replace(first, prompt="other"), replace(first, system="be short"),
        replace(first, align=True), replace(first, repetition_penalty=1.1),
        replace(first, chunk=None), replace(first, attempt="halves"),
        replace(first, chunk=replace(first.chunk, speaker="left")),
    ]  # fmt: skip
    keys = {request_key(each) for each in (first, *others)}
    assert len(keys) == 1 + len(others)


def test_answers_are_restored_exactly() -> None:
    stored = answer(request(), "text")
    restored = answer_from_json(json.loads(json.dumps(answer_to_json(stored))), stored.request)
    assert restored.request is stored.request
    for field in ("text", "tokens", "logprobs", "finish", "words"):
        assert getattr(restored, field) == getattr(stored, field)


def test_infinite_logprobs_are_restored() -> None:
    stored = Generation(request(), "", (1,), (-math.inf,), "length")
    restored = answer_from_json(json.loads(json.dumps(answer_to_json(stored))), stored.request)
    assert restored.logprobs == (-math.inf,)


@pytest.mark.parametrize(
    "result",
    [
        TRANSCRIPT,
        Translations((Translation("un", "French", "fr", TRANSCRIPT.segments, 2.0, "p"),), 2.0),
        Summary("s", None, "bullets", (Part(0.0, 1 / 7, "x", -0.5),), 2.0, "p", "j"),
        Answer("a", None, (), 2.0, ""),
    ],
    ids=lambda result: result.task,
)
def test_results_of_every_kind_are_restored(result) -> None:
    restored = round_trip_result(result)
    assert restored == result
    assert repr(restored) == repr(round_trip_result(restored))

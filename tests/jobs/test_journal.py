"""Journals: what was answered comes back exactly, and what is damaged is not believed."""

from __future__ import annotations

import errno
import json
import math
import os
import zlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.jobs import journal as journal_module
from phi4audio_cli.jobs.journal import (
    MAX_JOURNAL_NAME_BYTES,
    Journal,
    JournalEntries,
    answer_from_json,
    answer_to_json,
    journal_path,
    read_journal,
    request_key,
    round_trip_result,
)
from phi4audio_cli.jobs.lock import RecordingLockedError
from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.types import (
    WIDE_BAND,
    Answer,
    Chunk,
    Generation,
    Job,
    Part,
    Request,
    Segment,
    Summary,
    Transcript,
    Translation,
    Translations,
    Word,
)

IDENTITY = {"task": "Transcribe", "model": "m", "settings": {"vad": True}}
TRANSCRIPT = Transcript(
    "na\udce9 \u00fc", "French", (
        Segment(0, 0.1, 1 / 3, "na", "attention", -0.123, words=(Word(" na", 0.1, 1 / 3, 0.5),)),
        Segment(1, 1, 2.0, "ü", "chunk", None, "length", flags=("loop",), tried=("halves",)),
    ), 2.0, "Transcribe.", language_from="given", speech=1.5, uncovered=0,
)  # fmt: skip


def request(start: int = 0, **more) -> Request:
    chunk = Chunk(0, np.zeros(100, np.float32), WIDE_BAND, start)
    return Request(0, chunk, "prompt", 10, **more)


def answer(to: Request, text: str = "hello") -> Generation:
    words = (Word("hello", 0.1, 1 / 3, None),)
    return Generation(to, text, (5, 6), (-0.1, -math.pi), "stop", words)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "talk.wav").write_bytes(b"sound")
    return Job(0, tmp_path / "talk.wav", {"txt": tmp_path / "out" / "talk.txt"})


def make_store(identity=IDENTITY, **more) -> ResumeStore:
    return ResumeStore(lambda job: identity, lambda job: nullcontext(job.source), **more)


def opened_store(job: Job, **more) -> ResumeStore:
    found = make_store(**more)
    found.open_recording(job, job.source)
    return found


# Lines.


def write_lines(path: Path, count: int) -> bytes:
    journal = Journal.open_exclusive(path)
    assert journal is not None
    journal.reset({"model": "m"})
    for number in range(count):
        journal.append("answer", {"key": str(number), "text": "tëxt\n"})
    journal.close()
    return path.read_bytes()


@given(data=st.data())
def test_any_cut_leaves_the_whole_lines_before_it(data) -> None:
    lines = [b"%08x %s\n" % (zlib.crc32(c), c) for c in (b'{"a": 1}', b'{"b": {}}')]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    pages = JournalEntries.parse(whole[:cut])
    assert pages.valid_bytes == max(n for n in (0, len(lines[0]), len(whole)) if n <= cut)
    assert len(pages.contents) == sum(pages.valid_bytes >= n for n in (len(lines[0]), len(whole)))


@given(data=st.data())
def test_any_changed_byte_ends_what_is_believed(data, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    whole = bytearray(write_lines(path, 3))
    place = data.draw(st.integers(0, len(whole) - 1))
    line = bytes(whole[:place]).count(b"\n")
    whole[place] ^= data.draw(st.integers(1, 255))
    assert len(JournalEntries.parse(bytes(whole)).contents) == line


def test_a_torn_line_is_cut_off_before_more_is_added(tmp_path: Path) -> None:
    whole = write_lines(tmp_path / "j", 2)
    (tmp_path / "j").write_bytes(whole[:-3])
    journal = Journal.open_exclusive(tmp_path / "j")
    journal.append("answer", {"key": "new"})
    journal.close()
    assert list(read_journal(tmp_path / "j").answers()) == ["0", "new"]


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    pages = read_journal(tmp_path / "none")
    assert (pages.header, pages.done, pages.answers()) == (None, None, {})


# Answers and results.


def test_an_answer_comes_back_exactly_for_the_same_request_only(job: Job) -> None:
    asked = [request(), request(50), request(label="fr", attempt="penalty")]
    first = opened_store(job)
    for each in asked:
        first.store(answer(each, request_key(each)))
    first.close()
    again = opened_store(job)
    for each in asked:
        like = replace(each)
        known = again.lookup(like)
        assert known is not None
        assert known.request is like
        assert replace(known, request=each).text == request_key(each)
        assert (known.tokens, known.logprobs, known.finish) == ((5, 6), (-0.1, -math.pi), "stop")
        assert known.words == (Word("hello", 0.1, 1 / 3, None),)
    for other in (
        request(51), replace(asked[0], max_new_tokens=11), replace(asked[0], label="de"),
        replace(asked[0], prompt="other"), replace(asked[0], system="be short"),
        replace(asked[0], align=True), replace(asked[0], repetition_penalty=1.1),
        replace(asked[0], chunk=None), replace(asked[0], attempt="halves"),
        replace(asked[0], chunk=replace(asked[0].chunk, speaker="left")),
    ):  # fmt: skip
        assert again.lookup(other) is None
    again.close()


def test_numbers_that_json_has_no_name_for_come_back() -> None:
    odd = Generation(request(), "", (1,), (-math.inf,), "length")
    back = answer_from_json(json.loads(json.dumps(answer_to_json(odd))), odd.request)
    assert back.logprobs == (-math.inf,)


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
def test_results_of_every_kind_come_back(result, job: Job) -> None:
    first = opened_store(job)
    kept = first.finish(job, result, ["damaged"])
    finished = make_store().load_finished(job)
    assert finished is not None
    assert finished.result == kept == round_trip_result(result) == result
    assert finished.warnings == ("damaged",)
    assert repr(finished.result) == repr(kept)  # an int that became a float looks different


# When a journal fits.


def test_a_finished_recording_is_known_until_anything_it_depends_on_changes(job: Job) -> None:
    opened_store(job).finish(job, TRANSCRIPT, ())
    assert make_store().load_finished(job) is not None
    assert make_store(fresh=True).load_finished(job) is None
    assert make_store({**IDENTITY, "model": "other"}).load_finished(job) is None
    assert make_store({**IDENTITY, "settings": {"vad": False}}).load_finished(job) is None
    job.source.write_bytes(b"other")
    assert make_store().load_finished(job) is None
    job.source.unlink()
    assert make_store().load_finished(job) is None


def test_answers_of_another_recording_or_model_are_forgotten(job: Job) -> None:
    first = opened_store(job)
    first.store(answer(request()))
    first.close()
    other = opened_store(job, identity={**IDENTITY, "model": "other"})
    assert other.lookup(request()) is None
    other.close()
    back = opened_store(job)
    assert back.lookup(request()) is None, "the journal was begun anew"
    back.close()


def test_fresh_forgets(job: Job) -> None:
    first = opened_store(job)
    first.store(answer(request()))
    first.close()
    fresh = opened_store(job, fresh=True)
    assert fresh.lookup(request()) is None
    fresh.close()


def test_a_recording_is_claimed_by_one_and_free_when_it_is_done(job: Job) -> None:
    first = opened_store(job)
    with pytest.raises(RecordingLockedError, match="another job works on it"):
        opened_store(job)
    first.finish(job, TRANSCRIPT, ())
    with pytest.raises(RecordingLockedError, match="has done it meanwhile"):
        opened_store(job)


def test_a_recording_that_is_begun_after_the_end_is_claimed_by_nobody(job: Job) -> None:
    first = make_store()
    first.close()
    first.open_recording(job, job.source)
    first.store(answer(request()))
    other = opened_store(job)
    assert other.lookup(request()) is None
    other.close()


# Where it can't be written.


def test_a_full_disk_costs_the_journal_and_nothing_else(job: Job, monkeypatch) -> None:
    notes: list[str] = []
    first = opened_store(job, on_note=notes.append)
    first.store(answer(request(1)))
    monkeypatch.setattr(journal_module, "SYNC_SECONDS", 0.0)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for start in (2, 3):
        first.store(answer(request(start)))
    assert first.finish(job, TRANSCRIPT, ()) == TRANSCRIPT
    assert len(notes) == 1
    assert "No space left" in notes[0]
    again = opened_store(job)
    assert again.lookup(request(1)) is not None
    assert make_store().load_finished(job) is None
    again.close()


def test_a_folder_that_cannot_be_made_costs_the_journal_only(job: Job) -> None:
    (job.outputs["txt"].parent).write_text("a file")
    notes: list[str] = []
    found = opened_store(job, on_note=notes.append)
    found.store(answer(request()))
    assert found.finish(job, TRANSCRIPT, ()) == TRANSCRIPT
    assert len(notes) == 1


# Where it lies.


def test_a_journal_is_named_after_the_output_and_the_task(tmp_path: Path) -> None:
    def path(names: list[str], stem: str = "talk", task: str = "Transcribe") -> Path:
        outputs = {name: tmp_path / f"{stem}.{name}" for name in names}
        return journal_path(Job(0, Path("talk.wav"), outputs), task)

    assert (
        path(["txt"])
        == path(["srt", "txt"])
        == (tmp_path / ".phi4audio" / "talk.transcribe.journal")
    )
    assert path(["fr.srt", "de.srt"], task="Translate").name == "talk.fr+de.translate.journal"
    assert path(["fr.srt"], task="Translate") != path(["de.srt"], task="Translate")
    long = [path(["txt"], "ü" * 120), path(["txt"], "ü" * 121)]
    assert len(set(long)) == 2
    assert all(
        len(os.fsencode(each.name)) <= MAX_JOURNAL_NAME_BYTES + len(".journal") for each in long
    )


def test_names_of_the_users_own_making_keep_recordings_apart(tmp_path: Path) -> None:
    jobs = [
        Job(index, Path(folder) / "x.wav", {"txt": tmp_path / f"{index}-as-txt"})
        for index, folder in enumerate("ab")
    ]
    jobs += [
        Job(2 + index, Path("x.wav"), {"txt": tmp_path / f"{2 + index}-as-txt"}, url=url)
        for index, url in enumerate(["https://a.org/x.wav", "https://b.org/x.wav?v=1"])
    ]
    assert len({journal_path(job, "Transcribe") for job in jobs}) == len(jobs)

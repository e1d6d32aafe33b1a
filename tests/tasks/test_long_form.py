"""Summaries and answers: parts, joined texts and styles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.tasks.ask_task import Ask
from phi4audio_cli.tasks.long_form import MAX_GROUP_CHARACTERS, LongFormTask, group_parts
from phi4audio_cli.tasks.summarize_task import SUMMARY_STYLES, Summarize
from phi4audio_cli.types import Answer, Chunk, Generation, Part, Request, Summary

RATE = 8_000


def chunks(count: int, minutes: float) -> list[Chunk]:
    length = int(60 * minutes * RATE)
    silence = np.broadcast_to(np.float32(0), length)
    return [Chunk(index, silence, RATE, index * length) for index in range(count)]


def run_task(
    task: LongFormTask, pieces: list[Chunk], say
) -> tuple[Summary | Answer, list[Request]]:
    """Run the task as the pipeline does."""
    requests = [request for piece in pieces for request in task.requests(0, piece)]
    all_requests = list(requests)
    answers: list[Generation] = []
    while requests:
        answers += [
            Generation(request, say(request), (1,), (-0.25,), "stop") for request in requests
        ]
        requests = list(task.follow_up(answers))
        all_requests += requests
    return task.assemble(answers, sum(piece.seconds for piece in pieces)), all_requests


def test_half_an_hour_is_one_request():
    task = Summarize()
    assert task.max_chunk_seconds == 1800
    result, all_requests = run_task(task, chunks(1, 30), lambda request: "All is well.")
    assert [request.prompt for request in all_requests] == ["Summarize the audio."]
    assert (result.text, result.style, result.joining_prompt) == ("All is well.", "paragraph", None)
    assert [(part.start, part.end) for part in result.parts] == [(0, 1800)]


def test_text_only_requests_join_the_parts_of_a_longer_recording():
    pieces = chunks(3, 25)
    texts = iter(["It begins.", "It goes on.", "It ends.", "It begins, goes on and ends."])
    result, all_requests = run_task(Summarize(), pieces, lambda request: next(texts))
    assert [request.chunk is None for request in all_requests] == [False, False, False, True]
    assert all_requests[-1].prompt.endswith(
        "\n\n0:00 to 25:00:\nIt begins.\n\n25:00 to 50:00:\nIt goes on."
        "\n\n50:00 to 1:15:00:\nIt ends."
    )
    assert result.text == "It begins, goes on and ends."
    assert [part.text for part in result.parts] == ["It begins.", "It goes on.", "It ends."]
    assert "{parts}" in result.joining_prompt


def test_long_part_texts_are_joined_in_several_levels():
    """Long summaries of ten hours: groups, groups of groups, one text."""
    long = MAX_GROUP_CHARACTERS // 3 * "x"
    result, all_requests = run_task(
        Summarize(),
        chunks(20, 30),
        lambda r: long if r.chunk or r.prompt.count(" to ") > 2 else "end",
    )
    reading = [request for request in all_requests if request.chunk is None]
    assert len(reading) > 3
    assert max(len(request.prompt) for request in reading) < MAX_GROUP_CHARACTERS + 1000
    assert len(result.parts) == 20
    assert result.text in ("end", long)


@given(st.lists(st.integers(1, 2 * MAX_GROUP_CHARACTERS), min_size=1, max_size=40))
def test_groups_keep_the_order_and_reduce_the_number_of_texts(sizes: list[int]):
    parts = [Part(index, index + 1, size * "x") for index, size in enumerate(sizes)]
    found = group_parts(parts)
    assert [part for group in found for part in group] == parts
    assert len(found) <= (len(parts) + 1) // 2
    for group in found:
        assert len(group) <= 2 or sum(len(part.text) for part in group) <= MAX_GROUP_CHARACTERS


def test_parts_without_an_answer_are_left_out():
    texts = iter(["", "Only this.", ""])
    result, all_requests = run_task(Summarize(), chunks(3, 30), lambda request: next(texts))
    assert len(all_requests) == 3
    assert result.text == "Only this."
    assert [part.start for part in result.parts] == [1800]


def test_part_texts_are_the_result_when_joining_gives_no_text():
    texts = iter(["One.", "Two.", ""])
    result, _ = run_task(Summarize(), chunks(2, 30), lambda request: next(texts))
    assert result.text == "One.\nTwo."


def test_no_audio_gives_no_text():
    result, all_requests = run_task(Summarize(), [], lambda request: "?")
    assert (result.text, result.parts, all_requests) == ("", (), [])


@pytest.mark.parametrize("style", SUMMARY_STYLES)
def test_every_style_has_its_own_prompt_in_the_requested_language(style):
    task = Summarize(style, language="German")
    assert task.prompt.endswith("Write in German.")
    assert task.joining_prompt("PARTS").endswith("PARTS Write in German.")
    others = {Summarize(other).prompt for other in SUMMARY_STYLES if other != style}
    assert Summarize(style).prompt not in others


def test_minutes_are_points_with_the_times_of_their_parts():
    task = Summarize("minutes")
    assert task.max_chunk_seconds == 300
    texts = iter(["- First\n2. Second", "* Third\n\n", "A meeting."])
    result, _ = run_task(task, chunks(2, 5), lambda request: next(texts))
    assert result.text == (
        "A meeting.\n\n0:00 to 5:00\n- First\n- Second\n\n5:00 to 10:00\n- Third"
    )
    one, _ = run_task(task, chunks(1, 2), lambda request: "Only point")
    assert one.text == "0:00 to 2:00\n- Only point"


def test_the_prompt_of_the_user_replaces_the_prompt_of_the_style():
    task = Summarize(prompt="Who promised {what}?")
    _, all_requests = run_task(task, chunks(2, 30), lambda request: "Ann.")
    assert all_requests[0].prompt == "Who promised {what}?"
    assert "Who promised {what}?" in all_requests[-1].prompt
    assert all_requests[-1].prompt.endswith("30:00 to 1:00:00:\nAnn.")


def test_the_question_is_the_prompt_and_the_system_prompt_is_passed_on():
    task = Ask("Who speaks?", system="Answer in one word.")
    result, all_requests = run_task(task, chunks(1, 1), lambda request: "Ann.")
    assert [(r.prompt, r.system) for r in all_requests] == [("Who speaks?", "Answer in one word.")]
    assert (result.text, result.question) == ("Ann.", "Who speaks?")


def test_a_spoken_question_has_an_empty_prompt():
    result, all_requests = run_task(Ask(), chunks(1, 1), lambda request: "Forty-two.")
    assert [request.prompt for request in all_requests] == [""]
    assert result.question is None


def test_the_answers_about_each_part_are_joined():
    texts = iter(["Ann.", "Bob.", "Ann and Bob."])
    result, all_requests = run_task(
        Ask("Who?", system="S"), chunks(2, 30), lambda request: next(texts)
    )
    assert "Who?" in all_requests[-1].prompt
    assert "30:00 to 1:00:00:\nBob." in all_requests[-1].prompt
    assert {request.system for request in all_requests} == {"S"}
    assert (result.text, len(result.parts)) == ("Ann and Bob.", 2)

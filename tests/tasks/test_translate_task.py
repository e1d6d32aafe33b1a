"""The translate task: requests, retries without a separator, and segments."""

from __future__ import annotations

import numpy as np
import pytest

from phi4audio_cli.languages import find_language
from phi4audio_cli.tasks.prompts import Prompts
from phi4audio_cli.tasks.quality import quality_warnings
from phi4audio_cli.tasks.translate_task import Translate
from phi4audio_cli.types import Chunk, Generation, Request, Span, Translations

from .scripted_answers import (
    FIRST_SENTENCE,
    ScriptedText,
    answer_all,
    answer_by_attempt,
    attempt_names,
)
from .scripted_answers import chunk as noise

RATE = 16_000
FRENCH, GERMAN = find_language("fr"), find_language("de")
BOTH = (
    "Transcribe the audio to text, and then translate the audio to French. Use <sep> as a "
    "separator between the original transcript and the translation."
)


def chunk(index: int, start: float = 0, seconds: float = 10, speech: tuple = ()) -> Chunk:
    spans = tuple(Span(int(a * RATE), int(b * RATE)) for a, b in speech)
    return Chunk(index, np.zeros(int(seconds * RATE), np.float32), RATE, int(start * RATE), spans)


def answer(request: Request, text: str) -> Generation:
    return Generation(request, text, (1, 2), (-0.5, -0.25), "stop")


def run_task(task: Translate, chunks: list[Chunk], script) -> tuple[Translations, list[Request]]:
    """Run the task as the pipeline does; `script` answers prompts."""
    answers = [answer(r, script(r.prompt)) for each in chunks for r in task.requests(0, each)]
    again = [request for each in answers for request in task.retry(each)]
    answers += [answer(request, script(request.prompt)) for request in again]
    return task.assemble(answers, seconds=25.0), again


def test_prompts_are_those_of_the_model_card():
    [request] = Translate([FRENCH]).requests(2, chunk(0))
    assert (request.prompt, request.job) == ("Translate the audio to French.", 2)
    [request] = Translate([FRENCH], with_transcript=True).requests(0, chunk(0))
    assert request.prompt == BOTH


def test_all_languages_share_the_chunk():
    piece = chunk(0)
    requests = list(Translate([FRENCH, GERMAN], with_transcript=True).requests(0, piece))
    assert [request.prompt for request in requests] == [BOTH, "Translate the audio to German."]
    assert all(request.chunk is piece for request in requests)
    assert requests[0].max_new_tokens == 2 * requests[1].max_new_tokens


def test_each_language_gets_its_own_translation_in_the_order_of_the_chunks():
    task = Translate([FRENCH, GERMAN], "English")
    chunks = [chunk(1, start=10), chunk(0), chunk(2, start=20, seconds=5)]
    result, _ = run_task(task, chunks, lambda p: "un deux" if "French" in p else "eins zwei")
    french, german = result.each
    assert (french.language, french.code) == ("French", "fr")
    assert (german.text, german.source_language) == ("eins zwei eins zwei eins zwei", "English")
    assert [(s.start, s.end, s.text) for s in french.segments] == [
        (0, 10, "un deux"), (10, 20, "un deux"), (20, 25, "un deux"),
    ]  # fmt: skip
    assert {segment.times_from for segment in french.segments} == {"chunk"}
    assert {segment.transcript for segment in french.segments} == {None}
    assert task.variants == ("fr", "de")
    assert result.text.splitlines() == [french.text, german.text]


@pytest.mark.parametrize("separator", ["<sep>", " <sep> ", "\n<SEP>\n", "< sep >"])
def test_one_answer_gives_transcript_and_translation(separator: str):
    task = Translate([FRENCH], with_transcript=True)
    result, again = run_task(task, [chunk(0)], lambda prompt: f"one two{separator}un deux")
    assert again == []
    [segment] = result.each[0].segments
    assert (segment.transcript, segment.text) == ("one two", "un deux")
    assert result.each[0].prompt == BOTH


@pytest.mark.parametrize(
    "broken",
    ["one two un deux", "one two <sep> un deux <sep> un deux", "<sep> un deux", "one<sep>"],
)
def test_an_answer_without_one_separator_is_retried_as_two_requests(broken: str):
    plain = {
        "Transcribe the English audio clip into text.": "one two",
        "Translate the audio to French.": "un deux",
    }
    task = Translate([FRENCH], "English", bilingual=True)
    result, again = run_task(task, [chunk(0)], lambda prompt: plain.get(prompt, broken))
    assert [request.prompt for request in again] == list(plain)
    [segment] = result.each[0].segments
    assert (segment.transcript, segment.text) == ("one two", "un deux")
    assert result.each[0].text == "un deux"
    assert result.each[0].bilingual


def test_a_separator_is_never_written_out():
    """Not even if the separate answers have one, too."""
    task = Translate([FRENCH], with_transcript=True)
    result, _ = run_task(task, [chunk(0)], lambda prompt: "one two <sep> un deux <sep> deux")
    [segment] = result.each[0].segments
    assert (segment.transcript, segment.text) == ("one two", "deux")
    plain, _ = run_task(Translate([FRENCH]), [chunk(0)], lambda prompt: "one two <sep> un deux")
    assert plain.each[0].text == "un deux"


def test_silence_is_not_retried():
    result, again = run_task(
        Translate([FRENCH], with_transcript=True), [chunk(0)], lambda prompt: ""
    )
    assert again == []
    assert (result.each[0].text, result.each[0].segments) == ("", ())


def test_all_languages_share_the_transcript():
    texts = {"French": "one <sep> un", "German": "eins"}
    task = Translate([FRENCH, GERMAN], with_transcript=True)
    result, _ = run_task(task, [chunk(0)], lambda p: next(v for k, v in texts.items() if k in p))
    assert [each.segments[0].transcript for each in result.each] == ["one", "one"]


def test_translated_words_are_interpolated_over_the_chunk_speech():
    piece = chunk(0, start=10, seconds=20, speech=((12, 14), (25, 27)))
    result, _ = run_task(Translate([FRENCH]), [piece], lambda prompt: "un deux trois quatre")
    [segment] = result.each[0].segments
    assert (segment.start, segment.end, segment.times_from) == (12, 27, "speech")
    assert "".join(word.word for word in segment.words) == "un deux trois quatre"
    for word in segment.words:
        assert 12 <= word.start < word.end <= 27


def test_overlapping_chunks_are_merged_without_duplicates():
    """Without pauses chunks overlap, here by 2 of 10 seconds."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    first, second = " ".join(words[:6]), " ".join(words[4:])
    chunks = [chunk(0, 0, 6, ((0, 6),)), chunk(1, 4, 6, ((4, 10),))]
    task = Translate([FRENCH], with_transcript=True)
    answers = [
        answer(next(iter(task.requests(0, piece))), f"{text} <sep> {text.upper()}")
        for piece, text in zip(chunks, (first, second), strict=True)
    ]
    result = task.assemble(answers, seconds=10.0)
    assert result.text == " ".join(words).upper()
    transcripts = [segment.transcript for segment in result.each[0].segments]
    assert " ".join(transcripts) == " ".join(words)


def test_prompts_can_be_changed():
    prompts = Prompts.with_overrides({"translate": "In {language}, please: {braces} stay."})
    [request] = Translate([FRENCH], prompts=prompts).requests(0, chunk(0))
    assert request.prompt == "In French, please: {braces} stay."


def test_only_the_defective_translation_is_retried():
    task = Translate([FRENCH, find_language("de")], "English")

    def script(request: Request) -> ScriptedText:
        if "German" in request.prompt:
            return "eins zwei drei"
        return answer_by_attempt(("un " * 700, "length"), "un deux", "trois")(request)

    answers = answer_all(task, [noise()], script)
    assert len(answers) == 4
    french, german = task.assemble(answers, 40).each
    assert [each.text for each in french.segments] == ["un deux", "trois"]
    assert [each.text for each in german.segments] == ["eins zwei drei"]
    assert french.segments[0].tried == ("first", "halves")


def test_a_defective_combined_answer_is_retried_separately_then_in_halves():
    task = Translate([FRENCH], "English", with_transcript=True)

    def script(request: Request) -> ScriptedText:
        if "<sep>" in request.prompt:
            return f"{FIRST_SENTENCE} <sep> {'un ' * 700}", "length"
        if "Transcribe" in request.prompt:
            return FIRST_SENTENCE
        return answer_by_attempt(("un " * 700, "length"), "un deux", "trois")(request)

    result = task.assemble(answer_all(task, [noise()], script), 40)
    first, second = result.each[0].segments
    assert (first.text, second.text) == ("un deux", "trois")
    assert (first.transcript, second.transcript) == (FIRST_SENTENCE, None)
    assert quality_warnings(result) == ()


def test_a_separate_answer_replaces_a_looping_combined_answer():
    task = Translate([FRENCH], "English", with_transcript=True)

    def script(request: Request) -> ScriptedText:
        if "<sep>" in request.prompt:
            return f"{FIRST_SENTENCE} <sep> {'un ' * 60}"
        return FIRST_SENTENCE if "Transcribe" in request.prompt else "un deux trois"

    answers = answer_all(task, [noise()], script)
    assert attempt_names(answers) == ["first"] * 3
    for order in (answers, answers[::-1]):
        [segment] = task.assemble(order, 40).each[0].segments
        assert (segment.transcript, segment.text, segment.flags) == (
            FIRST_SENTENCE,
            "un deux trois",
            (),
        )


def test_half_transcripts_pair_with_half_translations():
    task = Translate([FRENCH], "English", with_transcript=True)

    def script(request: Request) -> ScriptedText:
        if request.attempt == "first":
            return ""
        words = ("one", "two") if "Transcribe" in request.prompt else ("un", "deux")
        return words[request.chunk.start > 0]

    [translation] = task.assemble(answer_all(task, [noise()], script), 40).each
    pairs = [(each.transcript, each.text) for each in translation.segments]
    assert pairs == [("one", "un"), ("two", "deux")]

"""Signs of a wrong answer in its text: loops, refusals, echoes, script, speaking rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.text.degenerate import is_prompt_echo, is_refusal, is_repetitive, repeated_share
from phi4audio_cli.text.language_detection import foreign_share, is_wrong_script, scripts_of
from phi4audio_cli.text.words import (
    count_words,
    dice_similarity,
    normalized_words,
    words_per_second,
)

SENTENCE = "We went to the market in the morning and bought bread, cheese and some apples."


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("", 0),
        (SENTENCE, 0),
        (f"{SENTENCE} {SENTENCE}", 0.5),
        ("Seven, seven. SEVEN " + "seven " * 7, 0.9),
        ("不客气" * 5, 0.8),
        ("one two three " * 10, 0.9),
        ("a" * 100, 0.99),
    ],
)
def test_repeated_share_counts_words_that_only_repeat(text: str, score: float):
    assert repeated_share(text) == pytest.approx(score)


@given(st.text())
def test_scores_are_shares_for_any_text(text: str):
    assert 0 <= repeated_share(text) <= 1
    assert dice_similarity(text, text) == 1
    assert 0 <= foreign_share(text, scripts_of(None)) <= 1
    assert count_words(text) <= max(1, len(text))


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("seven " * 11, True),
        ("seven " * 10, False),
        ("Thank you. " * 6, True),
        ("Thank you. " * 5, False),
        (f"{SENTENCE} I think so, I think so, I think so, I think so, I think so.", True),
        (f"{SENTENCE} No, no, no, no!", False),
        (f"{SENTENCE} {SENTENCE}", False),
        (f"{SENTENCE} {SENTENCE} {SENTENCE}", True),
        ("哈" * 12, True),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", False),
    ],
)
def test_only_long_repetitions_are_repetitive(text: str, long: bool):
    assert is_repetitive(text) == long


REFUSALS = [
    "I'm sorry, but I can't listen to audio.",
    "I’m sorry, but I cannot listen to audio files or transcribe them.",
    "I am unable to process audio directly. Please paste the text.",
    "Sorry, I can't transcribe the audio clip.",
    "I apologize, but I do not have the ability to listen to audio recordings.",
    "As an AI language model, I don't have the capability to hear audio.",
    "As a text-based AI, I am not able to access audio files.",
    "Unfortunately, I am currently unable to process audio files.",
    "I'm just a language model and can't help with that.",
    "I'm sorry, but I can't assist with transcribing audio.",
    "I'm sorry, but I can't assist with that.",
    "I'm sorry, but I can't help with that. How about a description of the audio clip instead?",
    "Sorry, I'm not able to help with that.",
    "It seems that no audio was provided. Please upload it.",
    "There is no audio clip provided.",
    "There's no speech in the clip to transcribe.",
    "The audio has not been provided.",
    "You have not provided any audio clip to transcribe.",
    "It looks like you haven't attached an audio file.",
    "You didn't upload any audio.",
    "Since there's nothing before or after the provided text, I can't transcribe anything. If you "
    "want to transcribe a different text, feel free to provide the information!",
    "Please provide the audio clip you would like me to transcribe.",
    "Es tut mir leid, aber ich kann keine Audiodateien anhören.",
    "Je suis désolé, mais je ne peux pas écouter l'audio.",
    "Lo siento, pero no puedo escuchar audio.",
    "Mi dispiace, ma non posso ascoltare l'audio.",
    "Desculpe, mas não posso ouvir áudio.",
    "很抱歉，我无法听取音频。",
    "申し訳ありませんが、音声を聞くことができません。",
]

SAID = [
    "I'm sorry, but I can't hear you.",
    "I'm sorry I'm late, the train was delayed again.",
    "Sorry, can you speak up a little?",
    "I can't find my keys, and I can't open the door.",
    "Sorry, but I can't assist with that right now, I'm at work.",
    "The audio was not provided by the BBC, but by us.",
    "No audio was provided by the BBC until noon.",
    "The audio provided by the museum was excellent.",
    "The audio was provided in three languages.",
    "You have not provided any audio equipment, they said.",
    "Since there's no bridge, I can't cross the river.",
    "There is nothing to translate into French here but the title, so we left it out of the book.",
    "Unfortunately the audio of the first session was lost.",
    "The audio clip was great, I could listen to it all day.",
    "I said that I'm sorry, but I can't listen to audio while I work.",
    "As an artist, I can't say which recording is the best.",
    "Please provide your name and address after the tone.",
    "Es tut mir leid, ich kann heute nicht kommen.",
    "Je suis désolé, je ne peux pas venir demain.",
    "Lo siento, no puedo ir mañana.",
    "对不起，我听不见你说什么。",
    "申し訳ありません、少し遅れます。",
    SENTENCE,
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_detected(text: str):
    assert is_refusal(text)


@pytest.mark.parametrize("text", SAID)
def test_an_apology_is_not_a_refusal(text: str):
    assert not is_refusal(text)


def test_a_long_answer_is_not_a_refusal():
    assert not is_refusal(REFUSALS[0] + " " + 6 * SENTENCE)


PROMPT = "Transcribe the audio clip into text."


@pytest.mark.parametrize(
    ("text", "echo"),
    [
        ("Transcribe the audio clip into text.", True),
        ("transcribe the audio clip", True),
        (f"{PROMPT} One two three.", True),
        ("the audio clip", False),
        ("We transcribe the audio clip by hand.", False),
        ("", False),
        (SENTENCE, False),
    ],
)
def test_an_echo_is_the_instruction_or_a_part_of_it(text: str, echo: bool):
    assert is_prompt_echo(text, PROMPT) == echo


def test_a_short_instruction_has_no_echo():
    assert not is_prompt_echo("yes", "yes")
    assert not is_prompt_echo("anything", "")


@pytest.mark.parametrize(
    ("text", "language", "other"),
    [
        (SENTENCE, "English", False),
        ("Это было вчера.", "English", True),
        ("Это было вчера.", "Russian", False),
        ("Это было вчера.", None, True),
        ("这是一个测试", None, False),
        ("これはテストです", "Japanese", False),
        ("これはテストです", "Chinese", True),
        ("这是 iPhone 的测试和说明", "Chinese", False),
        ("안녕하세요 여러분", "Korean", False),
        ("안녕하세요 여러분", None, True),
        ("ＦＵＬＬ ＷＩＤＴＨ", "English", False),
        ("人々", "Chinese", False),
        ("ОК", "English", False),
        ("12:30, 45!", "Arabic", False),
        ("", "English", False),
    ],
)
def test_most_letters_belong_to_the_language(text: str, language: str | None, other: bool):
    assert is_wrong_script(text, language) == other


def test_two_characters_without_spaces_count_as_a_word():
    assert count_words("One, two - three!") == 3
    assert count_words("你好世界。") == 2
    assert words_per_second("one two three four", 2.0) == 2.0
    assert words_per_second("one", 0.0) is None


def test_dice_similarity_counts_each_occurrence_of_a_word():
    assert dice_similarity("seven " * 30, "Seven, " * 30) == 1
    assert dice_similarity("seven " * 100, "seven " * 20) == pytest.approx(1 / 3)
    assert dice_similarity("one two", "three four") == 0
    assert dice_similarity("", "one") == 0
    assert normalized_words("One, TWO - Straße 你好!") == ["one", "two", "strasse", "你", "好"]

"""The prompts and answers of the demo model, and its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

DIGITS = {
    "English": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "French": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
    "German": ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
    "Spanish": ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
}
LANGUAGES = tuple(DIGITS)

END_OF_TEXT, USER, ASSISTANT, END = "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"
AUDIO, IMAGE, SYSTEM = "<|audio_1|>", "<|image_1|>", "<|system|>"
SPECIAL = (END_OF_TEXT, USER, ASSISTANT, END, AUDIO, IMAGE, SYSTEM)
SEPARATOR = "<sep>"
VOCABULARY_SIZE = 512

TRANSCRIBE = "Transcribe the audio clip into text."
TRANSCRIBE_ENGLISH = "Transcribe the English audio clip into text."
TRANSLATE = "Translate the audio to {language}."
BOTH = (
    "Transcribe the audio to text, and then translate the audio to {language}. "
    "Use <sep> as a separator between the original transcript and the translation."
)
SUMMARIZE = "Summarize the audio."
FIRST, LAST = "What is the first digit?", "What is the last digit?"
HOW_MANY = "How many digits are spoken?"
_NOTHING_SAID, _NONE = "Nothing is said.", "none"
_EXACT_UP_TO = 12
_NUMBERS = (*DIGITS["English"][1:], "ten", "eleven", "twelve")
_TENS = (
    *("ten", "twenty", "thirty", "forty", "fifty"),
    *("sixty", "seventy", "eighty", "ninety", "hundred"),
)


def special_id(token: str) -> int:
    """Return a special token's id; they come first in the vocabulary."""
    return SPECIAL.index(token)


@dataclass(frozen=True)
class TaskExample:
    """A task on a clip: prompt, answer, and whether the answer spells each digit."""

    prompt: str
    answer: str
    spells_words: bool


def digit_words(digits: Sequence[int], language: str) -> str:
    """Spell digits as words in a language."""
    return " ".join(DIGITS[language][digit] for digit in digits)


def number_words(count: int) -> str:
    """Return a number in words: exact up to twelve, beyond that to the nearest ten."""
    if count == 0:
        return _NONE
    if count <= _EXACT_UP_TO:
        return _NUMBERS[count - 1]
    return f"about {_TENS[min(9, (count + 5) // 10 - 1)]}"


def summarize(digits: Sequence[int]) -> str:
    """Return a sentence with the number of digits, the first and the last."""
    if not digits:
        return _NOTHING_SAID
    words = DIGITS["English"]
    unit = "digit" if len(digits) == 1 else "digits"
    return (
        f"The speaker says {number_words(len(digits))} {unit}, "
        f"from {words[digits[0]]} to {words[digits[-1]]}."
    )


def transcription_example(digits: Sequence[int], rng: np.random.Generator) -> TaskExample:
    """Draw a transcription example."""
    prompt = TRANSCRIBE if rng.random() < 0.6 else TRANSCRIBE_ENGLISH
    return TaskExample(prompt, digit_words(digits, "English"), spells_words=True)


def translation_example(digits: Sequence[int], rng: np.random.Generator) -> TaskExample:
    """Draw a translation example, sometimes into English."""
    language = str(rng.choice(LANGUAGES, p=[0.1, 0.3, 0.3, 0.3]))
    return TaskExample(
        TRANSLATE.format(language=language), digit_words(digits, language), spells_words=True
    )


def combined_example(digits: Sequence[int], rng: np.random.Generator) -> TaskExample:
    """Draw a example with transcript and translation in one answer."""
    language = str(rng.choice(LANGUAGES[1:]))
    answer = f"{digit_words(digits, 'English')}{SEPARATOR}{digit_words(digits, language)}"
    return TaskExample(BOTH.format(language=language), answer, spells_words=True)


def summary_example(digits: Sequence[int], rng: np.random.Generator) -> TaskExample:
    """Make a summary example."""
    return TaskExample(SUMMARIZE, summarize(digits), spells_words=False)


def question_example(digits: Sequence[int], rng: np.random.Generator) -> TaskExample:
    """Draw a question with its answer."""
    words = DIGITS["English"]
    answers = {
        FIRST: words[digits[0]] if digits else _NONE,
        LAST: words[digits[-1]] if digits else _NONE,
        HOW_MANY: number_words(len(digits)),
    }
    prompt = str(rng.choice(list(answers)))
    return TaskExample(prompt, answers[prompt], spells_words=False)


_OTHERS = (translation_example, combined_example, summary_example, question_example)
_SHARES = (0.5, 0.2, 0.18, 0.12)


def sample_examples(digits: Sequence[int], rng: np.random.Generator) -> list[TaskExample]:
    """Draw the examples about one clip: transcription and one or two others."""
    count = 1 if rng.random() < 0.7 else 2
    others = rng.choice(len(_OTHERS), size=count, replace=False, p=_SHARES)
    return [transcription_example(digits, rng)] + [_OTHERS[index](digits, rng) for index in others]


def _prompts() -> list[str]:
    """Return every prompt."""
    with_language = [
        form.format(language=language) for form, language in product((TRANSLATE, BOTH), LANGUAGES)
    ]
    return [TRANSCRIBE, TRANSCRIBE_ENGLISH, SUMMARIZE, FIRST, LAST, HOW_MANY, *with_language]


def _tokenizer_corpus() -> list[str]:
    """Return texts in which every word of the answers is frequent enough for a token of its own."""
    words = [word for language in LANGUAGES for word in DIGITS[language]]
    pairs = [f"{word} {word}" for word in words] * 12
    numbers = [f"{word} {word}" for word in _NUMBERS + _TENS] * 4
    sentences = [summarize([digit] * count) for digit in range(10) for count in (0, 1, 2, 30)]
    return pairs + numbers + sentences + _prompts() * 2


@cache
def build_tokenizer() -> Tokenizer:
    """Train the byte-level tokenizer; every digit word is one token, with and without a space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    separator = AddedToken(SEPARATOR, special=False, normalized=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - 1,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_tokenizer_corpus(), trainer)
    tokenizer.add_tokens([separator])
    return tokenizer


@cache
def prompt_ids(prompt: str) -> tuple[int, ...]:
    """Return the ids after the audio up to the answer: the prompt, its end, the assistant."""
    ids = build_tokenizer().encode(prompt).ids
    return (*ids, special_id(END), special_id(ASSISTANT))


def answer_ids(answer: str) -> list[int]:
    """Return an answer's ids with the end token after them."""
    return [*build_tokenizer().encode(answer).ids, special_id(END)]


@cache
def separator_id() -> int:
    """Return the separator's id."""
    found = build_tokenizer().token_to_id(SEPARATOR)
    assert found is not None, SEPARATOR
    return found

"""Word and character error rates, BLEU and chrF, and the text normalizer.

The normalizer is small, so that others can repeat a rate: it does not unify spelling variants,
numbers and filler words. Other normalizers, such as Whisper's, give lower rates.
"""

from __future__ import annotations

import importlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from phi4audio_cli.errors import UsageError

NORMALIZER_VERSION = "phi4audio-basic 1"
"""Name and version; every change of the result of `normalize` needs a new version."""

NORMALIZER_RULES = "Unicode NFKC, lower case, no punctuation or symbols, single spaces"

APOSTROPHES = frozenset("'’ʼ")
"""Apostrophes are removed (don't becomes "dont"); other punctuation becomes a space."""

CONTEXT_WORDS = 3
"""Words shown before and after a difference."""

BLEU_TOKENIZERS = {"zh": "zh", "ja": "char", "th": "char"}
"""sacrebleu's tokenizers by language code; its tokenizer for Japanese would need MeCab."""

DEFAULT_TOKENIZER = "13a"


def require(name: str) -> Any:
    """Import a library of the `eval` extra.

    Raises:
        UsageError: The library is not installed; the remedy installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = "pip install 'phi4audio[eval]'"
        raise UsageError(f"needs {name}, which is not installed", "eval", remedy) from error


def normalize(text: str) -> str:
    """Return a text normalised by `NORMALIZER_RULES`."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(map(_normalize_character, folded)).split())


def _normalize_character(char: str) -> str:
    if char in APOSTROPHES:
        return ""
    return " " if unicodedata.category(char)[0] in "PSZC" else char


@dataclass(frozen=True, slots=True)
class EditCounts:
    """Number of edits of words or characters, by kind."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_length: int = 0
    """Words or characters of the reference."""

    def __add__(self, other: EditCounts) -> EditCounts:
        return EditCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference_length + other.reference_length,
        )

    @property
    def errors(self) -> int:
        """Number of all edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors divided by the reference's length; all errors if the reference is empty."""
        return self.errors / self.reference_length if self.reference_length else float(self.errors)


@dataclass(frozen=True, slots=True)
class SpeechScore:
    """Edits between one transcript and its reference."""

    words: EditCounts
    characters: EditCounts
    normalized_words: EditCounts
    normalized_characters: EditCounts
    differences: str
    """The `inline_diff` of the normalised texts."""

    def __add__(self, other: SpeechScore) -> SpeechScore:
        return SpeechScore(
            self.words + other.words,
            self.characters + other.characters,
            self.normalized_words + other.normalized_words,
            self.normalized_characters + other.normalized_characters,
            "",
        )


def score_speech(reference: str, hypothesis: str) -> SpeechScore:
    """Count the errors of a transcript, verbatim and normalised.

    Raises:
        UsageError: jiwer is not installed.
    """
    normal_reference, normal_hypothesis = normalize(reference), normalize(hypothesis)
    return SpeechScore(
        words=count_edits(reference.split(), hypothesis.split()),
        characters=count_edits(
            list(_collapse_spaces(reference)), list(_collapse_spaces(hypothesis))
        ),
        normalized_words=count_edits(normal_reference.split(), normal_hypothesis.split()),
        normalized_characters=count_edits(list(normal_reference), list(normal_hypothesis)),
        differences=inline_diff(normal_reference.split(), normal_hypothesis.split()),
    )


def _collapse_spaces(text: str) -> str:
    """Return a text with single spaces, so that line breaks are not errors."""
    return " ".join(text.split())


def count_edits(reference: Sequence[str], hypothesis: Sequence[str]) -> EditCounts:
    """Count the fewest edits from one sequence to the other, with jiwer."""
    if not reference or not hypothesis:  # jiwer rejects an empty reference
        return EditCounts(0, len(reference), len(hypothesis), len(reference))
    measured = _align_words(reference, hypothesis)
    return EditCounts(
        measured.substitutions, measured.deletions, measured.insertions, len(reference)
    )


class _PreTokenized:
    """A jiwer transform that returns given items, for example characters with spaces."""

    def __init__(self, items: Sequence[str]) -> None:
        self.items = list(items)

    def __call__(self, texts: list[str]) -> list[list[str]]:
        return [self.items]


def _align_words(reference: Sequence[str], hypothesis: Sequence[str]):  # type: ignore[no-untyped-def]
    jiwer = require("jiwer")
    return jiwer.process_words(
        ["reference"],
        ["hypothesis"],
        reference_transform=_PreTokenized(reference),
        hypothesis_transform=_PreTokenized(hypothesis),
    )


def inline_diff(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """Return the differences of two texts with their context: `one [-two-] {+too+} three`.

    `[-words-]` are only in the reference, `{+words+}` only in the hypothesis. Words far from a
    difference are replaced by an ellipsis.
    """
    parts = list(_diff_parts(reference, hypothesis))
    different = [index for index, (_, differs) in enumerate(parts) if differs]
    near = {
        each
        for index in different
        for each in range(index - CONTEXT_WORDS, index + CONTEXT_WORDS + 1)
    }
    return " ".join(_with_ellipses(parts, near))


def _with_ellipses(parts: Sequence[tuple[str, bool]], near: Iterable[int]) -> Iterator[str]:
    shown = sorted(index for index in near if 0 <= index < len(parts))
    expected = 0
    for index in shown:
        if index != expected:
            yield "…"
        yield parts[index][0]
        expected = index + 1
    if shown and expected < len(parts):
        yield "…"


def _diff_parts(reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each common word or difference, and whether it is a difference."""
    if not reference or not hypothesis:
        if reference:
            yield f"[-{' '.join(reference)}-]", True
        if hypothesis:
            yield f"{{+{' '.join(hypothesis)}+}}", True
        return
    for part in _align_words(reference, hypothesis).alignments[0]:
        left = " ".join(reference[part.ref_start_idx : part.ref_end_idx])
        right = " ".join(hypothesis[part.hyp_start_idx : part.hyp_end_idx])
        if part.type == "equal":
            yield from ((word, False) for word in left.split())
        else:
            both = [f"[-{left}-]" if left else "", f"{{+{right}+}}" if right else ""]
            yield " ".join(filter(None, both)), True


@dataclass(frozen=True, slots=True)
class TranslationScore:
    """Scores of translations against their references, from 0 to 100."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


def score_translations(
    references: Sequence[str], translations: Sequence[str], code: str
) -> TranslationScore:
    """Score translations as one corpus; each text is one segment.

    Args:
        references: One for each translation; at least one.
        translations: In the same order.
        code: ISO 639-1 code of their language.

    Raises:
        UsageError: sacrebleu is not installed.
    """
    metrics = require("sacrebleu.metrics")
    # A single short text may have no 4-grams; effective order uses the n-grams that exist.
    alone = len(references) == 1
    bleu = metrics.BLEU(
        tokenize=BLEU_TOKENIZERS.get(code, DEFAULT_TOKENIZER), effective_order=alone
    )
    chrf = metrics.CHRF()
    texts, against = list(translations), [list(references)]
    return TranslationScore(
        bleu=bleu.corpus_score(texts, against).score,
        chrf=chrf.corpus_score(texts, against).score,
        bleu_signature=str(bleu.get_signature()),
        chrf_signature=str(chrf.get_signature()),
    )

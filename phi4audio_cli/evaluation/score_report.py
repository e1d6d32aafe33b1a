"""The report of an evaluation: scores per file, worst first, and in total."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from phi4audio_cli.evaluation.metrics import (
    NORMALIZER_RULES,
    NORMALIZER_VERSION,
    EditCounts,
    SpeechScore,
    TranslationScore,
    inline_diff,
    score_speech,
    score_translations,
)

RATE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class TextPair:
    """One finished text and what it should be."""

    source: str
    reference: str
    text: str
    duration: float | None = None
    """Seconds of audio."""
    seconds: float | None = None
    """Time it took, other files running beside it; None for a text that was there already."""

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio done in a second."""
        return self.duration / self.seconds if self.duration and self.seconds else None


@dataclass(frozen=True, slots=True)
class SpeechReport:
    """Transcripts against their references."""

    files: tuple[tuple[TextPair, SpeechScore], ...]
    """The highest normalised word error rate first."""
    total: SpeechScore

    def as_json(self) -> dict[str, Any]:
        """Return the report by keys; rates are shares of the reference's length."""
        return {
            "normalizer": NORMALIZER_VERSION,
            "files": [_pair_json(pair) | _speech_json(score) for pair, score in self.files],
            "total": _speech_json(self.total),
        }

    def lines(self) -> Iterable[str]:
        """Return the report as lines of text."""
        total = self.total
        yield f"WER {format_percent(total.words)}, CER {format_percent(total.characters)} as it is"
        yield (
            f"WER {format_percent(total.normalized_words)}, CER {format_percent(total.normalized_characters)} normalised"
            f" ({NORMALIZER_VERSION}: {NORMALIZER_RULES})"
        )
        words = total.normalized_words
        yield (
            f"{words.reference_length} words: {words.substitutions} replaced, {words.deletions} left out, "
            f"{words.insertions} added"
        )
        for pair, score in self.files:
            yield ""
            yield (
                f"{pair.source}: WER {format_percent(score.normalized_words)}, "
                f"CER {format_percent(score.normalized_characters)} normalised, "
                f"{format_percent(score.words)}, {format_percent(score.characters)} as it is{_format_rtfx(pair)}"
            )
            if score.differences:
                yield f"  {score.differences}"


@dataclass(frozen=True, slots=True)
class TranslationReport:
    """Translations against their references."""

    files: tuple[tuple[TextPair, TranslationScore], ...]
    """The lowest chrF first."""
    total: TranslationScore

    def as_json(self) -> dict[str, Any]:
        """Return the report by keys; scores from 0 to 100."""
        return {
            "files": [
                _pair_json(pair) | _translation_json(score) | {"differences": _differences(pair)}
                for pair, score in self.files
            ],
            "total": _translation_json(self.total)
            | {
                "bleu_signature": self.total.bleu_signature,
                "chrf_signature": self.total.chrf_signature,
            },
        }

    def lines(self) -> Iterable[str]:
        """Return the report as lines of text."""
        yield f"BLEU {self.total.bleu:.1f} ({self.total.bleu_signature})"
        yield f"chrF {self.total.chrf:.1f} ({self.total.chrf_signature})"
        for pair, score in self.files:
            yield ""
            yield f"{pair.source}: BLEU {score.bleu:.1f}, chrF {score.chrf:.1f}{_format_rtfx(pair)}"
            if differences := _differences(pair):
                yield f"  {differences}"


def report_speech(pairs: Sequence[TextPair]) -> SpeechReport:
    """Score transcripts, at least one."""
    scored = [(pair, score_speech(pair.reference, pair.text)) for pair in pairs]
    worst_first = sorted(scored, key=lambda entry: entry[1].normalized_words.rate, reverse=True)
    return SpeechReport(tuple(worst_first), reduce(add, (score for _, score in scored)))


def report_translations(pairs: Sequence[TextPair], code: str) -> TranslationReport:
    """Score translations, at least one, into the language of a code."""
    scored = [(pair, score_translations([pair.reference], [pair.text], code)) for pair in pairs]
    total = score_translations(
        [pair.reference for pair in pairs], [pair.text for pair in pairs], code
    )
    return TranslationReport(tuple(sorted(scored, key=lambda entry: entry[1].chrf)), total)


def format_percent(edits: EditCounts) -> str:
    """Say a rate."""
    return f"{100 * edits.rate:.1f} %"


def _differences(pair: TextPair) -> str:
    return inline_diff(pair.reference.split(), pair.text.split())


def _format_rtfx(pair: TextPair) -> str:
    return f", RTFx {pair.rtfx:.1f}" if pair.rtfx else ""


def _pair_json(pair: TextPair) -> dict[str, Any]:
    entry: dict[str, Any] = {"source": pair.source, "duration": pair.duration}
    if pair.rtfx:
        entry["rtfx"] = round(pair.rtfx, 2)
    return entry | {"reference": pair.reference, "text": pair.text}


def _speech_json(score: SpeechScore) -> dict[str, Any]:
    words = score.normalized_words
    entry: dict[str, Any] = {
        "wer": round(score.words.rate, RATE_DIGITS),
        "cer": round(score.characters.rate, RATE_DIGITS),
        "wer_normalized": round(words.rate, RATE_DIGITS),
        "cer_normalized": round(score.normalized_characters.rate, RATE_DIGITS),
        "words": words.reference_length,
        "replaced": words.substitutions,
        "left_out": words.deletions,
        "added": words.insertions,
    }
    if score.differences:
        entry["differences"] = score.differences
    return entry


def _translation_json(score: TranslationScore) -> dict[str, Any]:
    return {"bleu": round(score.bleu, 2), "chrf": round(score.chrf, 2)}

"""The report of an evaluation: total scores, and scores per file with the worst file first."""

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
    """One text and its reference."""

    source: str
    reference: str
    text: str
    duration: float | None = None
    """Length of the recording in seconds."""
    seconds: float | None = None
    """Wall-clock seconds, with other files in parallel; None for a text of an earlier run."""

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio per second (real-time factor); None: not measured."""
        return self.duration / self.seconds if self.duration and self.seconds else None


@dataclass(frozen=True, slots=True)
class SpeechReport:
    """Scores of transcripts."""

    files: tuple[tuple[TextPair, SpeechScore], ...]
    """In descending order of the normalised word error rate."""
    total: SpeechScore

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON data; rates are shares of the reference's length."""
        return {
            "normalizer": NORMALIZER_VERSION,
            "files": [_pair_json(pair) | _speech_json(score) for pair, score in self.files],
            "total": _speech_json(self.total),
        }

    def lines(self) -> Iterable[str]:
        """Yield the report as lines of text."""
        yield f"{_format_verbatim(self.total)} verbatim"
        yield f"{_format_normalized(self.total)} ({NORMALIZER_VERSION}: {NORMALIZER_RULES})"
        words = self.total.normalized_words
        yield (
            f"{words.reference_length} words: {words.substitutions} substitutions, "
            f"{words.deletions} deletions, {words.insertions} insertions"
        )
        for pair, score in self.files:
            yield ""
            yield (
                f"{pair.source}: {_format_normalized(score)}, "
                f"{_format_verbatim(score)} verbatim{_format_rtfx(pair)}"
            )
            if score.differences:
                yield f"  {score.differences}"


@dataclass(frozen=True, slots=True)
class TranslationReport:
    """Scores of translations."""

    files: tuple[tuple[TextPair, TranslationScore], ...]
    """In ascending order of chrF."""
    total: TranslationScore

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON data; scores from 0 to 100."""
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
        """Yield the report as lines of text."""
        yield f"BLEU {self.total.bleu:.1f} ({self.total.bleu_signature})"
        yield f"chrF {self.total.chrf:.1f} ({self.total.chrf_signature})"
        for pair, score in self.files:
            yield ""
            yield f"{pair.source}: BLEU {score.bleu:.1f}, chrF {score.chrf:.1f}{_format_rtfx(pair)}"
            if differences := _differences(pair):
                yield f"  {differences}"


def report_speech(pairs: Sequence[TextPair]) -> SpeechReport:
    """Score transcripts; at least one."""
    scored = [(pair, score_speech(pair.reference, pair.text)) for pair in pairs]
    worst_first = sorted(scored, key=lambda entry: entry[1].normalized_words.rate, reverse=True)
    return SpeechReport(tuple(worst_first), reduce(add, (score for _, score in scored)))


def report_translations(pairs: Sequence[TextPair], code: str) -> TranslationReport:
    """Score translations into one language, by its ISO 639-1 code; at least one."""
    scored = [(pair, score_translations([pair.reference], [pair.text], code)) for pair in pairs]
    total = score_translations(
        [pair.reference for pair in pairs], [pair.text for pair in pairs], code
    )
    return TranslationReport(tuple(sorted(scored, key=lambda entry: entry[1].chrf)), total)


def format_percent(edits: EditCounts) -> str:
    """Format a rate: `12.3 %`."""
    return f"{100 * edits.rate:.1f} %"


def _format_verbatim(score: SpeechScore) -> str:
    return f"WER {format_percent(score.words)}, CER {format_percent(score.characters)}"


def _format_normalized(score: SpeechScore) -> str:
    words, characters = score.normalized_words, score.normalized_characters
    return f"WER {format_percent(words)}, CER {format_percent(characters)} normalised"


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

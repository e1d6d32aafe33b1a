"""What an evaluation found: by file, worst first, and in total."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from phi4audio_cli.scoring.normalize import NORMALIZER, RULES
from phi4audio_cli.scoring.speech import Edits, SpeechScore, mark, score_speech
from phi4audio_cli.scoring.translation import TranslationScore, score_translations

DIGITS = 4


@dataclass(frozen=True, slots=True)
class Pair:
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

    files: tuple[tuple[Pair, SpeechScore], ...]
    """The highest normalised word error rate first."""
    total: SpeechScore

    def as_json(self) -> dict[str, Any]:
        """Return the report by keys; rates are shares of the reference's length."""
        return {
            "normalizer": NORMALIZER,
            "files": [_entry(pair) | _rates(score) for pair, score in self.files],
            "total": _rates(self.total),
        }

    def lines(self) -> Iterable[str]:
        """Return the report as lines of text."""
        total = self.total
        yield f"WER {percent(total.words)}, CER {percent(total.characters)} as it is"
        yield (
            f"WER {percent(total.normal_words)}, CER {percent(total.normal_characters)} normalised"
            f" ({NORMALIZER}: {RULES})"
        )
        words = total.normal_words
        yield (
            f"{words.length} words: {words.replaced} replaced, {words.left_out} left out, "
            f"{words.added} added"
        )
        for pair, score in self.files:
            yield ""
            yield (
                f"{pair.source}: WER {percent(score.normal_words)}, "
                f"CER {percent(score.normal_characters)} normalised, "
                f"{percent(score.words)}, {percent(score.characters)} as it is{_speed(pair)}"
            )
            if score.differences:
                yield f"  {score.differences}"


@dataclass(frozen=True, slots=True)
class TranslationReport:
    """Translations against their references."""

    files: tuple[tuple[Pair, TranslationScore], ...]
    """The lowest chrF first."""
    total: TranslationScore

    def as_json(self) -> dict[str, Any]:
        """Return the report by keys; scores from 0 to 100."""
        return {
            "files": [
                _entry(pair) | _scores(score) | {"differences": _differences(pair)}
                for pair, score in self.files
            ],
            "total": _scores(self.total)
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
            yield f"{pair.source}: BLEU {score.bleu:.1f}, chrF {score.chrf:.1f}{_speed(pair)}"
            if differences := _differences(pair):
                yield f"  {differences}"


def report_speech(pairs: Sequence[Pair]) -> SpeechReport:
    """Score transcripts, at least one."""
    scored = [(pair, score_speech(pair.reference, pair.text)) for pair in pairs]
    worst_first = sorted(scored, key=lambda entry: entry[1].normal_words.rate, reverse=True)
    return SpeechReport(tuple(worst_first), reduce(add, (score for _, score in scored)))


def report_translations(pairs: Sequence[Pair], code: str) -> TranslationReport:
    """Score translations, at least one, into the language of a code."""
    scored = [(pair, score_translations([pair.reference], [pair.text], code)) for pair in pairs]
    total = score_translations(
        [pair.reference for pair in pairs], [pair.text for pair in pairs], code
    )
    return TranslationReport(tuple(sorted(scored, key=lambda entry: entry[1].chrf)), total)


def percent(edits: Edits) -> str:
    """Say a rate."""
    return f"{100 * edits.rate:.1f} %"


def _differences(pair: Pair) -> str:
    return mark(pair.reference.split(), pair.text.split())


def _speed(pair: Pair) -> str:
    return f", RTFx {pair.rtfx:.1f}" if pair.rtfx else ""


def _entry(pair: Pair) -> dict[str, Any]:
    entry: dict[str, Any] = {"source": pair.source, "duration": pair.duration}
    if pair.rtfx:
        entry["rtfx"] = round(pair.rtfx, 2)
    return entry | {"reference": pair.reference, "text": pair.text}


def _rates(score: SpeechScore) -> dict[str, Any]:
    words = score.normal_words
    entry: dict[str, Any] = {
        "wer": round(score.words.rate, DIGITS),
        "cer": round(score.characters.rate, DIGITS),
        "wer_normalized": round(words.rate, DIGITS),
        "cer_normalized": round(score.normal_characters.rate, DIGITS),
        "words": words.length,
        "replaced": words.replaced,
        "left_out": words.left_out,
        "added": words.added,
    }
    if score.differences:
        entry["differences"] = score.differences
    return entry


def _scores(score: TranslationScore) -> dict[str, Any]:
    return {"bleu": round(score.bleu, 2), "chrf": round(score.chrf, 2)}

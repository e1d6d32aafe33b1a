"""BLEU and chrF of translations, by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from phi4audio_cli.scoring.libraries import need

TOKENIZERS = {"zh": "zh", "ja": "char", "th": "char"}
"""sacrebleu's names, by language code. Its own for Japanese needs MeCab; characters will do."""

USUAL_TOKENIZER = "13a"


@dataclass(frozen=True, slots=True)
class TranslationScore:
    """Translations against their references; both scores from 0 to 100."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


def score_translations(
    references: Sequence[str], translations: Sequence[str], code: str
) -> TranslationScore:
    """Score translations as one corpus; each text counts as one segment.

    Args:
        references: One for each translation, at least one.
        translations: In the same order.
        code: ISO 639-1 of their language.

    Raises:
        UsageError: sacrebleu is not installed.
    """
    metrics = need("sacrebleu.metrics")
    # A single short text has no fourfold word sequences: effective order counts what there is.
    alone = len(references) == 1
    bleu = metrics.BLEU(tokenize=TOKENIZERS.get(code, USUAL_TOKENIZER), effective_order=alone)
    chrf = metrics.CHRF()
    texts, against = list(translations), [list(references)]
    return TranslationScore(
        bleu=bleu.corpus_score(texts, against).score,
        chrf=chrf.corpus_score(texts, against).score,
        bleu_signature=str(bleu.get_signature()),
        chrf_signature=str(chrf.get_signature()),
    )

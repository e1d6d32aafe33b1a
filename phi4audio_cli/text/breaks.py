"""Where a text may be broken, and how good a place it is. Pure."""

from __future__ import annotations

import enum
import unicodedata

SENTENCE_ENDS = frozenset(".!?…。！？｡؟।")
CLAUSE_ENDS = frozenset(",;:、，；：､،؛")
DASHES = frozenset("—–")

TITLES = frozenset(
    """
    mr mrs ms dr prof st sr sra jr vs nr bzw z.b e.g i.e mme mlle
    """.split()  # noqa: SIM905
)
"""Words whose full stop ends no sentence, in lower case."""

# Articles, prepositions and the like of the languages the model hears, one line a language.
LEANING = frozenset(
    """
    a an the of to in on at by for from with into onto than as and or but nor if that
    der die das den dem des ein eine einen einem einer eines und oder aber von zu zum zur mit im in
    am an auf für aus bei nach vor über unter dass wenn als
    le la les un une des du de d' l' et ou mais à au aux en dans sur sous par pour avec chez que qui
    el la los las un una unos unas y o pero de del a al en con por para sin sobre que
    il lo la i gli le un uno una e o ma di del della dei degli delle a al alla da dal in nel con su
    per tra fra che
    o a os as um uma e ou mas de do da dos das em no na nos nas com por para sem sobre que
    """.split()  # noqa: SIM905
)
"""Words that lean on the next: a line or a cue should not end in one."""


class Break(enum.IntEnum):
    """How good a break after a word is by what is written; smaller is better."""

    SENTENCE = 0
    CLAUSE = 1
    PHRASE = 2
    """Before an article, a preposition or a conjunction: these begin something."""
    WORD = 3
    LEANING = 4
    """After one."""


def break_after(word: str, following: str) -> Break:
    """Judge the place between two words.

    Args:
        word: The one before, with its punctuation.
        following: The one after; empty at the end of a text.
    """
    text = word.strip()
    bare = text.rstrip("\"'”“’‘»«)]}」』】）")
    last = bare[-1:]
    if last in SENTENCE_ENDS and not _is_abbreviation(bare, following.strip()):
        return Break.SENTENCE
    if last in CLAUSE_ENDS or text[-1:] in DASHES or following.strip()[:1] in DASHES:
        return Break.CLAUSE
    if _is_leaning(text):
        return Break.LEANING
    return Break.PHRASE if _is_leaning(following) else Break.WORD


def _is_abbreviation(word: str, following: str) -> bool:
    if not word.endswith("."):
        return False
    stem = word[:-1].lower().lstrip("(\"'“‘«")
    return stem in TITLES or (len(stem) == 1 and stem.isalpha()) or following[:1].islower()


def _is_leaning(word: str) -> bool:
    return word.strip().lower().replace("’", "'") in LEANING


def width(text: str) -> int:
    """Return how wide a text is on the screen, in sixteenths of a Latin letter.

    A full-width character counts 42/16 letters: lines hold 42 letters, or 16 full-width ones.
    """
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn", "Me"):
        return 0
    return FULL_WIDTH if unicodedata.east_asian_width(char) in "WF" else LETTER


LETTER = 16
"""Width of a Latin letter."""

FULL_WIDTH = 42
"""Width of a full-width character."""

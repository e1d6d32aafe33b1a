"""Bilingual subtitles keep all words, in order and in time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.text.bilingual import split_bilingual
from phi4audio_cli.text.cues import DEFAULT_STYLE
from phi4audio_cli.text.words import interpolate_times
from phi4audio_cli.types import Segment

TEXTS = st.lists(
    st.sampled_from(["one", "two,", "three.", "Four", "five!", "six", "你好", "seven"]), max_size=60
)


def segment(said: str, text: str, seconds: float = 40.0, words: bool = True) -> Segment:
    placed = (
        interpolate_times(text, [(0.0, seconds / 2), (seconds * 0.6, seconds)]) if words else ()
    )
    return Segment(0, 0.0, seconds, text, "speech", words=placed, transcript=said)


def halves(pieces: list[Segment]) -> tuple[str, str]:
    lines = [piece.text.split("\n") for piece in pieces]
    above = " ".join(line[0] for line in lines if len(line) == 2)
    return above, " ".join(line[-1] for line in lines)


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(said=TEXTS, written=TEXTS.filter(bool), words=st.booleans())
def test_no_word_is_lost_or_moved(said: list[str], written: list[str], words: bool):
    one = segment(" ".join(said), " ".join(written), words=words)
    pieces = split_bilingual(one, DEFAULT_STYLE)
    if not said:
        assert pieces == [one]
        return
    above, below = halves(pieces)
    assert squeezed(above) == squeezed(" ".join(said))
    assert squeezed(below) == squeezed(" ".join(written))
    for left, right in pairwise(pieces):
        assert left.start < left.end <= right.start
    assert all(not piece.words for piece in pieces)


def test_sentences_are_above_their_translations():
    """The second sentence is long in one language and short in the other."""
    said = "Yes. I do not think that anybody in this room would want to do such a thing today. No."
    text = "Ja. Nein, das will hier keiner. Nein, auf gar keinen Fall, unter keinen Umständen, nie."
    pieces = split_bilingual(segment(said, text), DEFAULT_STYLE)
    [last] = [piece.text for piece in pieces if "No." in piece.text]
    assert any(word in last for word in ("auf gar", "Fall", "unter", "Umständen"))
    [first] = [piece.text for piece in pieces if "Ja." in piece.text]
    assert first.startswith("Yes.")


def test_a_long_chunk_becomes_many_cues():
    said, text = " ".join(["seven"] * 50), " ".join(["sept"] * 50)
    pieces = split_bilingual(segment(said, text), DEFAULT_STYLE)
    assert len(pieces) > 5
    for piece in pieces:
        above, below = piece.text.split("\n")
        assert abs(above.count("seven") - below.count("sept")) <= 1

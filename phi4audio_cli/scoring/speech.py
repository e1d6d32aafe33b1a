"""Word and character error rates of transcripts, and which words differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from phi4audio_cli.scoring.libraries import need
from phi4audio_cli.scoring.normalize import normalize

CONTEXT = 3
"""Words shown on either side of a difference."""


@dataclass(frozen=True, slots=True)
class Edits:
    """How many words or characters differ."""

    replaced: int = 0
    left_out: int = 0
    added: int = 0
    length: int = 0
    """Words or characters of the reference."""

    def __add__(self, other: Edits) -> Edits:
        return Edits(
            self.replaced + other.replaced,
            self.left_out + other.left_out,
            self.added + other.added,
            self.length + other.length,
        )

    @property
    def errors(self) -> int:
        """All differences."""
        return self.replaced + self.left_out + self.added

    @property
    def rate(self) -> float:
        """Errors by the reference's length; without a reference each one is a whole error."""
        return self.errors / self.length if self.length else float(self.errors)


@dataclass(frozen=True, slots=True)
class SpeechScore:
    """One transcript against its reference."""

    words: Edits
    characters: Edits
    normal_words: Edits
    normal_characters: Edits
    differences: str
    """The normalised text where it differs, as `mark` writes it."""

    def __add__(self, other: SpeechScore) -> SpeechScore:
        return SpeechScore(
            self.words + other.words,
            self.characters + other.characters,
            self.normal_words + other.normal_words,
            self.normal_characters + other.normal_characters,
            "",
        )


def score_speech(reference: str, heard: str) -> SpeechScore:
    """Count the errors of a transcript, as it is and normalised.

    Raises:
        UsageError: jiwer is not installed.
    """
    normal_reference, normal_heard = normalize(reference), normalize(heard)
    return SpeechScore(
        words=count_words(reference.split(), heard.split()),
        characters=count_words(list(_spaced(reference)), list(_spaced(heard))),
        normal_words=count_words(normal_reference.split(), normal_heard.split()),
        normal_characters=count_words(list(normal_reference), list(normal_heard)),
        differences=mark(normal_reference.split(), normal_heard.split()),
    )


def _spaced(text: str) -> str:
    """Return a text with single spaces: line ends are no errors."""
    return " ".join(text.split())


def count_words(reference: Sequence[str], heard: Sequence[str]) -> Edits:
    """Count with jiwer the fewest edits that make one sequence of the other."""
    if not reference or not heard:  # jiwer refuses an empty reference
        return Edits(0, len(reference), len(heard), len(reference))
    measured = _align(reference, heard)
    return Edits(measured.substitutions, measured.deletions, measured.insertions, len(reference))


class _Ready:
    """Hands jiwer sequences that are divided already: characters, spaces among them, are items."""

    def __init__(self, items: Sequence[str]) -> None:
        self.items = list(items)

    def __call__(self, texts: list[str]) -> list[list[str]]:
        return [self.items]


def _align(reference: Sequence[str], heard: Sequence[str]):  # type: ignore[no-untyped-def]
    jiwer = need("jiwer")
    return jiwer.process_words(
        ["reference"],
        ["heard"],
        reference_transform=_Ready(reference),
        hypothesis_transform=_Ready(heard),
    )


def mark(reference: Sequence[str], heard: Sequence[str]) -> str:
    """Write where two texts differ: `one [-two-] {+too+} three`, far words as an ellipsis.

    What stands in [-these-] is in the reference only, what in {+these+} was heard only.
    """
    pieces = list(_pieces(reference, heard))
    shown = [index for index, (_, differs) in enumerate(pieces) if differs]
    near = {each for index in shown for each in range(index - CONTEXT, index + CONTEXT + 1)}
    return " ".join(_elide(pieces, near))


def _elide(pieces: Sequence[tuple[str, bool]], near: Iterable[int]) -> Iterator[str]:
    kept = sorted(index for index in near if 0 <= index < len(pieces))
    expected = 0
    for index in kept:
        if index != expected:
            yield "…"
        yield pieces[index][0]
        expected = index + 1
    if kept and expected < len(pieces):
        yield "…"


def _pieces(reference: Sequence[str], heard: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each word or difference, and whether it is one."""
    if not reference or not heard:
        if reference:
            yield f"[-{' '.join(reference)}-]", True
        if heard:
            yield f"{{+{' '.join(heard)}+}}", True
        return
    for part in _align(reference, heard).alignments[0]:
        left = " ".join(reference[part.ref_start_idx : part.ref_end_idx])
        right = " ".join(heard[part.hyp_start_idx : part.hyp_end_idx])
        if part.type == "equal":
            yield from ((word, False) for word in left.split())
        else:
            both = [f"[-{left}-]" if left else "", f"{{+{right}+}}" if right else ""]
            yield " ".join(filter(None, both)), True

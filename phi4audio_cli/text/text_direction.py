"""Right-to-left texts in subtitle files, whose formats have no field for the direction. Pure.

Players lay a SubRip or ASS line out from left to right, so the full stop of a Hebrew or Arabic
sentence stands on the wrong side, and a Latin name reverses the halves of the line. libass, VLC and
the Windows renderers all follow an embedding (U+202B ... U+202C) around each line; marks (U+200F)
at its ends repair the punctuation only. WebVTT players take the direction from the first letter of
a line, so there a mark is needed only before a line that begins with another script.
"""

from __future__ import annotations

import unicodedata

RIGHT_TO_LEFT_EMBEDDING = "\u202b"
POP_DIRECTION = "\u202c"
RIGHT_TO_LEFT_MARK = "\u200f"


def is_right_to_left(text: str) -> bool:
    """Whether most letters of a text are of a script from right to left."""
    directions = [unicodedata.bidirectional(char) for char in text]
    right = sum(direction in ("R", "AL") for direction in directions)
    return right > directions.count("L")


def embed_right_to_left(line: str) -> str:
    """Return a line that every player lays out from right to left."""
    return f"{RIGHT_TO_LEFT_EMBEDDING}{line}{POP_DIRECTION}"


def mark_right_to_left(line: str, shown: str) -> str:
    """Return a line with a mark before it, if its first letter is not from right to left.

    Args:
        line: The line as it is written, perhaps with tags.
        shown: The text of the line.
    """
    directions = (unicodedata.bidirectional(char) for char in shown)
    first = next((each for each in directions if each in ("L", "R", "AL")), "L")
    return RIGHT_TO_LEFT_MARK + line if first == "L" else line

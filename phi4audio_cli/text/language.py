"""Which language a text is in."""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any

from phi4audio_cli.errors import FileError
from phi4audio_cli.languages import LANGUAGES

SURE_ENOUGH = 0.5
"""Probability among the model's languages under which a guess isn't told."""


def detect_language(text: str) -> str | None:
    """Return the English name of the language, among those the model hears; None if unsure.

    Raises:
        FileError: No temporary file can be written; the detector is unpacked into one.
    """
    if not text.strip():
        return None
    code, probability = _identifier().classify(text)
    by_code = {language.code: language.name for language in LANGUAGES}
    return by_code[str(code)] if probability >= SURE_ENOUGH else None


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    try:
        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    except OSError as error:
        raise FileError(
            "its language can't be detected, for no temporary file can be written: "
            f"{error.strerror or error}",
            remedy=f"make room in {tempfile.gettempdir()}, set TMPDIR to a folder that has it, "
            "or give --language",
        ) from error
    identifier.set_languages([language.code for language in LANGUAGES if language.audio])
    return identifier

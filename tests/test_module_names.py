"""Names of modules: unique in the tree, so that a search for one finds one file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("phi4audio_cli", "tests", "benchmarks", "tools", "training")
SPECIAL_NAMES = {"__init__", "__main__", "conftest"}
"""Names that Python and pytest give a meaning of their own in every package."""


def repeated_names(paths: list[Path]) -> dict[str, int]:
    names = Counter(path.stem for path in paths if path.stem not in SPECIAL_NAMES)
    return {name: count for name, count in names.items() if count > 1}


def test_module_names_are_unique() -> None:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 200
    assert repeated_names(paths) == {}


@pytest.mark.parametrize(
    ("paths", "repeated"),
    [
        (["audio/reader.py", "model/reader.py"], {"reader": 2}),
        (["audio/__init__.py", "model/__init__.py", "audio/reader.py"], {}),
    ],
)
def test_repeated_names(paths: list[str], repeated: dict[str, int]) -> None:
    assert repeated_names([Path(path) for path in paths]) == repeated

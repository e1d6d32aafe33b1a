"""Prompts: filled in without surprises, changed by name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.tasks.prompts import Prompts, fill


def test_what_is_filled_in_is_not_searched_itself():
    assert fill("{prompt} in {language}", prompt="say {language}", language="French") == (
        "say {language} in French"
    )
    assert fill("{prompt}{prompt} {other} {}", prompt="a") == "aa {other} {}"


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean translate"):
        Prompts.changed({"translat": "x"})


def test_a_text_that_leaves_out_what_is_filled_in_is_an_error():
    with pytest.raises(UsageError, match=r"prompts\.translate.*\{language\}"):
        Prompts.changed({"translate": "Translate it."})
    assert Prompts.changed({"paragraph": "What is it about?"}).paragraph == "What is it about?"


def test_the_documentation_lists_every_prompt_as_it_is():
    page = Path(__file__).parents[2] / "docs" / "tasks.md"
    rows = page.read_text(encoding="utf-8").splitlines()
    for each in fields(Prompts):
        text = " ⏎ ".join(line for line in str(each.default).splitlines() if line)
        assert f"| `{each.name}` | `{text}` |" in rows

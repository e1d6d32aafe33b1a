"""Prompt templates: placeholders and overrides."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.tasks.prompts import Prompts, fill_placeholders


def test_inserted_text_is_not_substituted_again():
    assert fill_placeholders(
        "{prompt} in {language}", prompt="say {language}", language="French"
    ) == ("say {language} in French")
    assert fill_placeholders("{prompt}{prompt} {other} {}", prompt="a") == "aa {other} {}"


def test_an_unknown_prompt_name_is_an_error_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean translate"):
        Prompts.with_overrides({"translat": "x"})


def test_a_prompt_without_its_placeholder_is_an_error():
    with pytest.raises(UsageError, match=r"prompts\.translate.*\{language\}"):
        Prompts.with_overrides({"translate": "Translate it."})
    assert (
        Prompts.with_overrides({"paragraph": "What is it about?"}).paragraph == "What is it about?"
    )


def test_the_documentation_lists_every_prompt():
    page = Path(__file__).parents[2] / "docs" / "tasks.md"
    rows = page.read_text(encoding="utf-8").splitlines()
    for each in fields(Prompts):
        text = " ⏎ ".join(line for line in str(each.default).splitlines() if line)
        assert f"| `{each.name}` | `{text}` |" in rows

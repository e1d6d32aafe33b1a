"""The repetition penalty: that of the literature, by row, and nothing where it is 1."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from phi4audio_cli.model.decoder import Decoder
from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.inputs import Prepared
from phi4audio_cli.model.network import Phi4AudioForCausalLM
from phi4audio_cli.model.writing import Answer
from tests.model.small import prompt, small_model

BUDGET = 24


@pytest.fixture(scope="module")
def model() -> Phi4AudioForCausalLM:
    return small_model()


def prompts(count: int) -> list[Prepared]:
    rng = random.Random(7)
    return [prompt(rng.randint(50, 900), seed, max_new_tokens=BUDGET) for seed in range(count)]


def answer(model: Phi4AudioForCausalLM, *rows: Prepared) -> list[Answer]:
    return generate(model, rows, {0, 1})


def test_without_a_penalty_nothing_changes(model, monkeypatch):
    """Not even a bit of it; and in a batch with rows that have one, no token."""
    rows = prompts(4)
    plain = answer(model, *rows)
    beside = answer(model, rows[0], *(replace(row, repetition_penalty=1.3) for row in rows[1:]))
    assert beside[0].tokens == plain[0].tokens
    monkeypatch.setattr("phi4audio_cli.model.writing._penalised", pytest.fail)
    assert answer(model, *(replace(row, repetition_penalty=1.0) for row in rows)) == plain


def test_a_row_gets_the_same_in_any_batch(model):
    rows = [
        replace(row, repetition_penalty=penalty)
        for row, penalty in zip(prompts(6), (1.0, 1.1, 1.5, 1.0, 3.0, 1.2), strict=True)
    ]
    alone = [answer(model, row)[0] for row in rows]
    assert [each.tokens for each in answer(model, *rows)] == [each.tokens for each in alone]


def test_it_keeps_answers_from_repeating(model):
    [row] = prompts(1)
    [free] = answer(model, row)
    [held] = answer(model, replace(row, repetition_penalty=5.0))
    assert len(set(held.tokens)) > len(set(free.tokens))


def test_tokens_are_those_of_transformers_penalty(model, monkeypatch):
    """On what was answered, not on the prompt; log-probabilities stay the model's own."""
    [row] = prompts(1)
    seen: list[torch.Tensor] = []
    logits_of = Decoder._logits

    def spy(self, hidden):
        logits = logits_of(self, hidden)
        seen.append(logits[0].clone())
        return logits

    monkeypatch.setattr(Decoder, "_run_checkpoint", spy)
    [told] = generate(model, [replace(row, repetition_penalty=1.4)], set())
    assert len(told.tokens) == BUDGET
    processor = RepetitionPenaltyLogitsProcessor(1.4)
    for place, logits in enumerate(seen):
        said = torch.tensor([told.tokens[:place]], dtype=torch.long)
        expected = int(processor(said, logits[None])[0].argmax())
        assert told.tokens[place] == expected
        assert told.logprobs[place] == pytest.approx(float(logits.log_softmax(-1)[expected]))

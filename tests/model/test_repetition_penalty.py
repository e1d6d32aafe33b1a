"""The repetition penalty: the published one, per sequence, and no change where it is 1."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from phi4audio_cli.model.batch_decoder import SequenceOutput
from phi4audio_cli.model.inputs import ModelInput
from phi4audio_cli.network.phi4 import Phi4Audio
from tests.model.generate import generate
from tests.model.network_spy import NetworkSpy
from tests.model.small import prompt
from tests.network.networks import small_network

BUDGET = 24


@pytest.fixture(scope="module")
def network() -> Phi4Audio:
    return small_network()


def prompts(count: int) -> list[ModelInput]:
    rng = random.Random(7)
    return [prompt(rng.randint(50, 900), seed, max_new_tokens=BUDGET) for seed in range(count)]


def outputs(network: Phi4Audio, *batch: ModelInput) -> list[SequenceOutput]:
    return generate(network, batch, {0, 1})


def test_a_penalty_of_other_sequences_changes_nothing(network):
    batch = prompts(4)
    plain = outputs(network, *batch)
    mixed = [batch[0], *(replace(each, repetition_penalty=1.3) for each in batch[1:])]
    assert outputs(network, *mixed)[0] == plain[0]


def test_a_sequence_gets_the_same_in_any_batch(network):
    penalties = (1.0, 1.1, 1.5, 1.0, 3.0, 1.2)
    batch = [
        replace(each, repetition_penalty=penalty)
        for each, penalty in zip(prompts(6), penalties, strict=True)
    ]
    alone = [outputs(network, each)[0] for each in batch]
    assert outputs(network, *batch) == alone


def test_a_penalty_leads_to_more_different_tokens(network):
    [one] = prompts(1)
    [free] = outputs(network, one)
    [penalized] = outputs(network, replace(one, repetition_penalty=5.0))
    assert len(set(penalized.tokens)) > len(set(free.tokens))


def test_tokens_are_those_of_transformers_penalty_on_the_output(network):
    """The prompt's tokens don't count, and log-probabilities are those without the penalty."""
    [one] = prompts(1)
    seen: list[torch.Tensor] = []
    spy = NetworkSpy(network)
    spy.on_logits = lambda logits: seen.append(logits[0].clone())
    [output] = generate(spy, [replace(one, repetition_penalty=1.4)], set())
    assert len(output.tokens) == BUDGET
    processor = RepetitionPenaltyLogitsProcessor(1.4)
    for index, logits in enumerate(seen):
        before = torch.tensor([output.tokens[:index]], dtype=torch.long)
        expected = int(processor(before, logits[None])[0].argmax())
        assert output.tokens[index] == expected
        logprob = float(logits.log_softmax(-1)[expected])
        assert output.logprobs[index] == pytest.approx(logprob, abs=1e-5)

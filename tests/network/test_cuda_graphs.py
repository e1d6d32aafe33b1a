"""Recorded steps: the tokens of plain ones, whatever rows are computed beside them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from phi4audio_cli.model.decoder import Decoder
from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.graphs import Compute, StepGraphs

from phi4audio_cli.model import decoder
from tests.model.small import prompt, small_model


def capture(compute: Compute) -> tuple[Callable[[], None], torch.Tensor]:
    """Record on the CPU: the result lies where it lay at first, as with a CUDA graph."""
    result = compute().clone()

    def replay() -> None:
        result.copy_(compute())

    return replay, result


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record steps on the CPU; collect rows and span whenever one is computed."""
    shapes: list[tuple[int, int]] = []

    def graphs(self: Decoder) -> StepGraphs:
        def compute(tokens: torch.Tensor, positions: torch.Tensor, span: int) -> torch.Tensor:
            shapes.append((len(tokens), span))
            return self._short_step(tokens, positions, span)

        return StepGraphs(compute, self.slots.count, self.device, capture)

    monkeypatch.setattr(Decoder, "_new_graphs", graphs)
    return shapes


def prompts(count: int):
    rng = random.Random(5)
    return [prompt(rng.randint(40, 900), seed, rng.randint(2, 40)) for seed in range(count)]


@pytest.mark.parametrize("count", [1, 3, 11])
def test_tokens_stay(recorded, monkeypatch, count):
    monkeypatch.setattr(decoder, "RECORDED_SPAN_STEP", 32)
    model = small_model()
    found = generate(model, prompts(count), {0})
    monkeypatch.undo()
    plain = generate(model, prompts(count), {0})
    assert [answer.tokens for answer in found] == [answer.tokens for answer in plain]
    assert recorded


def test_shapes_are_rounded_up_to_few(recorded):
    generate(small_model(), prompts(11), set())
    assert {rows for rows, _ in recorded} <= {11, 8, 4, 2, 1}
    assert {span % decoder.RECORDED_SPAN_STEP for _, span in recorded} == {0}


def test_beyond_the_switch_steps_are_not_recorded(recorded, monkeypatch):
    """A recording holds the short factors: a row that crosses gets the tokens it gets without."""
    [found] = generate(small_model(switch=64), [prompt(440)], set())
    assert len(recorded) < 11  # the steps before the switch alone; each runs when it is recorded
    monkeypatch.undo()
    [plain] = generate(small_model(switch=64), [prompt(440)], set())
    assert found.tokens == plain.tokens

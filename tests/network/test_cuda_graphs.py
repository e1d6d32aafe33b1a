"""Captured decode steps: the logits of plain ones, whatever rows are computed with them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from phi4audio_cli.network import cuda_graphs
from phi4audio_cli.network.cuda_graphs import Compute, CudaGraphRunner
from phi4audio_cli.network.kv_cache import KVCache
from phi4audio_cli.network.phi4 import Phi4Audio
from tests.model.generate import generate
from tests.model.small import prompt
from tests.network.networks import small_network


def capture(compute: Compute) -> tuple[Callable[[], None], torch.Tensor]:
    """Capture on the CPU: the result stays at its address, as with a CUDA graph."""
    result = compute().clone()

    def replay() -> None:
        result.copy_(compute())

    return replay, result


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Capture steps on the CPU; collect rows and span whenever one is computed."""
    shapes: list[tuple[int, int]] = []

    def new_graphs(self: Phi4Audio, cache: KVCache) -> CudaGraphRunner:
        def compute(tokens: torch.Tensor, positions: torch.Tensor, span: int) -> torch.Tensor:
            shapes.append((len(tokens), span))
            return self._step(cache, tokens, positions, span, length=0)

        return CudaGraphRunner(compute, cache.num_slots, self.device, capture)

    monkeypatch.setattr(Phi4Audio, "captures_steps", True)
    monkeypatch.setattr(Phi4Audio, "new_graphs", new_graphs)
    return shapes


def prompts(count: int):
    rng = random.Random(5)
    return [prompt(rng.randint(40, 900), seed, rng.randint(2, 40)) for seed in range(count)]


@pytest.mark.parametrize("count", [1, 3, 11])
def test_tokens_are_those_of_plain_steps(captured, monkeypatch, count):
    monkeypatch.setattr(cuda_graphs, "SPAN_STEP", 32)
    network = small_network()
    found = generate(network, prompts(count), {0})
    monkeypatch.undo()
    plain = generate(network, prompts(count), {0})
    assert [output.tokens for output in found] == [output.tokens for output in plain]
    assert captured


def test_shapes_are_rounded_up_to_few(captured):
    generate(small_network(), prompts(11), set())
    assert {rows for rows, _ in captured} <= {11, 8, 4, 2, 1}
    assert {span % cuda_graphs.SPAN_STEP for _, span in captured} == {0}


def test_steps_beyond_the_short_context_are_not_captured(captured, monkeypatch):
    """A graph holds the short factors: a sequence that crosses gets the tokens it gets without."""
    [found] = generate(small_network(64), [prompt(440)], set())
    assert len(captured) < 11  # each captured step is computed when it is captured and replayed
    monkeypatch.undo()
    [plain] = generate(small_network(64), [prompt(440)], set())
    assert found.tokens == plain.tokens


def test_a_grown_cache_has_graphs_of_its_own(captured):
    network = small_network()
    cache = network.new_cache(2, 128)
    with torch.inference_mode():
        network.prefill(cache, [0], [torch.randn(20, 64)])
        before = network.decode_step(cache, [7], [20]).clone()
        cache.grow(256)
        assert torch.equal(network.decode_step(cache, [7], [20]), before)
    assert network._graphs is not None
    assert network._graphs[1] == 256


def test_steps_of_offloaded_layers_are_not_captured():
    assert not small_network().captures_steps  # on the CPU, nothing is

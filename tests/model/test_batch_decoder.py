"""Greedy decoding: the same bits in every batch, and slots while sequences run."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch

from phi4audio_cli.model.batch_decoder import BatchDecoder, log_normalizers
from tests.model.generate import embed_audio, generate
from tests.model.small import prompt
from tests.network.networks import small_network

REAL_VOCABULARY = 200_064


@pytest.fixture(params=[1, 3, 8])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_log_normalizers_have_the_same_bits_in_any_batch(threads: int):
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(12, REAL_VOCABULARY, generator=generator)
    expected = log_normalizers(logits)
    torch.testing.assert_close(expected.double(), logits.double().logsumexp(dim=-1))
    for row in range(len(logits)):
        assert torch.equal(log_normalizers(logits[row : row + 1]), expected[row : row + 1])
    for count in (2, 3, 5, 7, 9, 11):
        assert torch.equal(log_normalizers(logits[:count].clone()), expected[:count])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_and_log_probabilities_have_the_same_bits_in_any_batch(dtype: torch.dtype):
    network = small_network().to(dtype)
    rng = random.Random(4)
    prompts = [prompt(rng.randint(10, 4000), seed, rng.randint(1, 30)) for seed in range(8)]
    alone = [generate(network, [one], {0, 1})[0] for one in prompts]
    for size in (2, 3, 8):
        for start in range(0, len(prompts), size):
            together = generate(network, prompts[start : start + size], {0, 1})
            assert together == alone[start : start + size]
    backwards = generate(network, prompts[::-1], {0, 1})
    assert backwards[::-1] == alone


def test_a_failed_prefill_leaves_no_new_sequence(monkeypatch: pytest.MonkeyPatch):
    network = small_network()
    decoder = BatchDecoder(network, set())
    prompts = [prompt(frames, 1) for frames in (300, 80)]
    decoder.allocate(3, 128)
    [running] = decoder.prefill([(prompts[0], *embed_audio(network, prompts[:1]))])
    decoder.max_batched_tokens = 0  # one prompt a pass
    prefill, calls = network.prefill, []

    def fail_second(cache, slots, given):
        calls.append(slots)
        if len(calls) == 2:
            raise ValueError("the second pass")
        return prefill(cache, slots, given)

    monkeypatch.setattr(network, "prefill", fail_second)
    pairs = list(zip(prompts, embed_audio(network, prompts), strict=True))
    with pytest.raises(ValueError, match="the second pass"):
        decoder.prefill(pairs)
    assert decoder.sequences == [running]


def test_the_cache_is_not_resized_or_freed_while_sequences_run():
    network = small_network()
    one = prompt(80)
    decoder = BatchDecoder(network, set())
    with pytest.raises(ValueError, match="allocate"):
        _ = decoder.cache
    decoder.allocate(2, one.max_length)
    decoder.prefill([(one, *embed_audio(network, [one]))])
    with pytest.raises(ValueError, match="number of slots"):
        decoder.allocate(3, one.max_length)
    with pytest.raises(ValueError, match="running"):
        decoder.free_cache()
    decoder.free_all()
    decoder.free_cache()
    assert decoder.num_slots == 0

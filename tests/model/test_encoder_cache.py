"""Each chunk is encoded once, and has the same embeddings alone and together with others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from phi4audio_cli.model.encoder_cache import EncoderCache
from phi4audio_cli.types import Request
from tests.model.small import noise_chunk, prompt, small_backend
from tests.network.networks import small_network


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_chunk_is_encoded_once_for_all_its_requests(tmp_path: Path, batch_size: int):
    backend, spy = small_backend(tmp_path, stop_tokens=frozenset({0, 1}), batch_size=batch_size)
    chunks = [noise_chunk(index, 1 + index % 3) for index in range(5)]
    requests = [Request(0, chunk, text, 6) for chunk in chunks for text in "ABCDE"]
    passes: list[int] = []
    spy.before_encode = lambda clips: passes.append(len(clips))
    together = {answer.request: answer for answer in backend.generate(requests)}
    assert sum(passes) == len(chunks)
    assert len(together) == len(requests)
    for request in requests[::4]:
        [alone] = backend.generate([request])
        assert together[request].tokens == alone.tokens


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embeddings_have_the_same_bits_alone_and_together(dtype: torch.dtype):
    network = small_network().to(dtype)
    prompts = [prompt(frames, seed) for seed, frames in enumerate((300, 80, 900, 4100, 333, 12))]
    cache = EncoderCache(network, max_windows=16)
    together = [cache.get(each, prompts) for each in prompts]
    for each, embeddings in zip(prompts, together, strict=True):
        assert torch.equal(EncoderCache(network, max_windows=1).get(each), embeddings)
        assert embeddings.shape == (each.audio_length, network.config.hidden_size)


def test_embeddings_that_no_request_needs_are_dropped():
    passes: list[int] = []
    network = small_network()
    first, second = prompt(80, 1), prompt(80, 2)
    cache = EncoderCache(network, max_windows=1)
    expected = cache.get(first, [second])
    encode = network.encode_clips

    def count(clips):
        passes.append(len(clips))
        return encode(clips)

    network.encode_clips = count
    assert torch.equal(cache.get(first), expected)
    assert passes == []
    cache.get(second)
    cache.get(first)
    assert sum(passes) == 2

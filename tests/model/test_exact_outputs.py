"""The demo's tokens, probabilities and words have the same bits in any batch and order."""

from __future__ import annotations

import random

import pytest

from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.doctor.audio_checks import bundled_sample
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Chunk, Generation, Request, Word

Answer = tuple[tuple[int, ...], tuple[float, ...], tuple[Word, ...]]


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    """Ask for word-timed transcripts of chunks of many lengths, which end anywhere in a word."""
    speech, rate = bundled_sample("interview")
    task = Transcribe("English", align="attention")
    rng = random.Random(11)
    found: list[Request] = []
    start = 0
    for index, tenths in enumerate((3, 52, 9, 31, 17, 77, 24, 41, 6, 13)):
        stop = start + tenths * rate // 10 + rng.randrange(rate // 100)
        found += task.requests(index, Chunk(0, speech[start:stop], rate, start))
        start = stop
    return found


def answers(backend: TorchBackend, requests: list[Request], batch_size: int) -> dict[int, Answer]:
    backend.batch_size = batch_size
    found: dict[int, Answer] = {}
    for answer in backend.generate(requests):
        assert isinstance(answer, Generation)
        found[answer.request.job] = answer.tokens, answer.logprobs, answer.words
    assert len(found) == len(requests)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "quantize"),
    [("float32", "none"), ("bfloat16", "none"), ("bfloat16", "int8"), ("bfloat16", "int4")],
)
def test_answers_have_the_same_bits_in_any_batch_and_order(requests, dtype, quantize):
    folder = resolve_model("demo", offline=True)
    backend = open_torch_backend(folder, device="cpu", dtype=dtype, quantize=quantize)
    alone: dict[int, Answer] = {}
    for request in requests:
        alone |= answers(backend, [request], batch_size=1)
    assert sum(len(words) for _, _, words in alone.values()) >= 20
    shuffled = random.Random(5).sample(requests, len(requests))
    assert answers(backend, requests, batch_size=2) == alone
    assert answers(backend, shuffled, batch_size=3) == alone
    assert answers(backend, requests[::-1], batch_size=64) == alone

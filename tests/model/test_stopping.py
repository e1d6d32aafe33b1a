"""A run that is asked to stop ends with the running batch, whatever the feed waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from phi4audio_cli.model.inputs import InputBuilder
from phi4audio_cli.model.local import LocalBackend
from phi4audio_cli.types import Chunk, Generation, Request
from tests.model.small import save_tokenizer, small_model

RATE = 16_000


def request(job: int) -> Request:
    generator = torch.Generator().manual_seed(job)
    samples = torch.randn(RATE // 2, generator=generator).numpy()
    return Request(job, Chunk(0, samples, RATE, 0), "ABC", 5)


@pytest.mark.timeout(60)
def test_what_is_not_answered_any_more_is_waited_for_by_nobody(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    backend = LocalBackend(small_model(), InputBuilder.from_folder(tmp_path), frozenset({1}), 2)
    all_answered = threading.Event()
    given: list[Generation] = []

    def feed() -> Iterator[Request | None]:
        yield from map(request, range(3))
        yield None
        all_answered.wait()  # as the engine does, for answers may make more requests

    for answer in backend.generate(feed(), stop=lambda: bool(given)):
        assert isinstance(answer, Generation)
        given.append(answer)
    assert len(given) == 2, "the running batch"
    all_answered.set()

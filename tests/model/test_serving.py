"""Rows side by side: free slots are taken at once, and nobody's tokens change for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from phi4audio_cli.model import serving
from phi4audio_cli.model.decoder import Decoder
from phi4audio_cli.model.inputs import InputBuilder
from phi4audio_cli.model.local import LocalBackend
from phi4audio_cli.types import Chunk, Generation, Request, RequestFailed
from tests.model.small import save_tokenizer, small_model

RATE = 16_000
BUDGETS = (9, 2, 5, 1, 12, 3, 3, 7, 2, 4)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> LocalBackend:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return LocalBackend(small_model(), InputBuilder.from_folder(folder), frozenset(), 3)


def chunk(index: int, seconds: float) -> Chunk:
    generator = torch.Generator().manual_seed(index)
    samples = torch.randn(int(seconds * RATE), generator=generator).numpy()
    return Chunk(index, samples, RATE, 0)


def requests(budgets: tuple[int, ...] = BUDGETS) -> list[Request]:
    return [
        Request(job, chunk(job, 0.4 + job % 4), "ABC", budget) for job, budget in enumerate(budgets)
    ]


@pytest.fixture(scope="module")
def alone(backend: LocalBackend) -> dict[int, tuple[int, ...]]:
    found = {}
    for request in requests():
        [answer] = backend.generate([request])
        assert isinstance(answer, Generation)
        found[request.job] = answer.tokens
    return found


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the number of rows of each step."""
    seen: list[int] = []
    step = Decoder.step

    def counted(self: Decoder, tokens, positions):
        seen.append(len(tokens))
        return step(self, tokens, positions)

    monkeypatch.setattr(Decoder, "step", counted)
    return seen


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
@pytest.mark.parametrize(("heard", "read"), [(1, 0), (4, 0), (4, 120), (10, 2048)])
def test_the_tokens_are_those_alone(backend, alone, monkeypatch, batch_size, heard, read):
    """However many are encoded together, and however many positions are read together."""
    monkeypatch.setattr(backend, "batch_size", batch_size)
    monkeypatch.setattr(backend, "heard_together", heard)
    monkeypatch.setattr(backend.writer, "read_together", read)
    found = {answer.request.job: answer.tokens for answer in backend.generate(requests())}
    assert found == alone


def test_no_slot_is_empty_while_a_request_waits(backend, steps):
    list(backend.generate(requests()))
    # The first token of each comes from the prefill, so a budget of n takes n - 1 steps.
    assert sum(steps) == sum(BUDGETS) - len(BUDGETS)
    last = max(place for place, rows in enumerate(steps) if rows == 3)
    assert set(steps[: last + 1]) == {3}
    assert sorted(steps[last + 1 :], reverse=True) == steps[last + 1 :]


def test_numbers_that_overflowed_in_a_slot_reach_nobody_after(backend, monkeypatch):
    """The third request takes the slot of the second, which is full of NaN further than it goes."""
    first, third = Request(0, chunk(0, 6.0), "ABC", 30), Request(2, chunk(2, 0.5), "ABC", 8)
    [expected] = backend.generate([third])
    bad = Request(1, replace(chunk(1, 4.0), samples=chunk(1, 4.0).samples * torch.nan), "ABC", 8)
    monkeypatch.setattr(backend, "batch_size", 2)
    found = {answer.request.job: answer for answer in backend.generate([first, bad, third])}
    assert isinstance(found[1], RequestFailed)
    assert found[2].tokens == expected.tokens
    assert len(found[0].tokens) == 30


def test_a_longer_row_may_join_shorter_ones(backend, monkeypatch):
    lengths = ((0.5, 40), (0.5, 3), (0.4, 150))
    asked = [
        Request(job, chunk(job, seconds), "ABC", tokens)
        for job, (seconds, tokens) in enumerate(lengths)
    ]
    expected = [next(backend.generate([request])).tokens for request in asked]
    capacities = []
    grow = Decoder.grow

    def watched(self: Decoder, capacity: int) -> None:
        capacities.append(capacity)
        grow(self, capacity)

    monkeypatch.setattr(Decoder, "add_groups", watched)
    monkeypatch.setattr(backend, "batch_size", 2)
    backend.writer.drop_slots()
    found = {answer.request.job: answer.tokens for answer in backend.generate(asked)}
    assert [found[job] for job in range(3)] == expected
    assert len(capacities) == 1


def test_long_recordings_count_as_many(backend, steps, monkeypatch):
    """Three slots hold one recording of two encoder windows, or three of one."""
    asked = [Request(job, chunk(job, 50.0), "ABC", 3) for job in range(2)]
    list(backend.generate([*asked, *requests((3, 3, 3))]))
    assert steps == [1, 1, 1, 1, 3, 3]


def test_prompts_are_read_together_where_that_is_faster(backend, monkeypatch):
    sizes: list[int] = []
    read = Decoder.read

    def counted(self: Decoder, places, given):
        sizes.append(len(given))
        return read(self, places, given)

    monkeypatch.setattr(Decoder, "read", counted)
    monkeypatch.setattr(backend, "heard_together", 8)
    monkeypatch.setattr(backend.writer, "read_together", 2048)
    list(backend.generate([*requests((3, 3, 3, 3, 3, 3)), None]))
    assert sizes == [3, 3]


def test_prompts_that_cannot_be_read_together_are_read_alone(backend, alone, monkeypatch):
    read = Decoder.read

    def fail(self: Decoder, places, given):
        if len(given) > 1:
            raise ValueError("these don't go together")
        return read(self, places, given)

    monkeypatch.setattr(Decoder, "read", fail)
    monkeypatch.setattr(backend, "heard_together", 4)
    monkeypatch.setattr(backend.writer, "read_together", 2048)
    found = {answer.request.job: answer.tokens for answer in backend.generate(requests())}
    assert found == alone


@pytest.mark.timeout(60)
def test_a_feed_that_flushes_may_wait_for_all_answers(backend):
    answered = threading.Event()

    def feed() -> Iterator[Request | None]:
        yield from requests((3, 3, 3, 3))
        yield None
        assert answered.wait(30), "what was handed out before the flush is not answered"
        yield from requests((2,))

    for count, _ in enumerate(backend.generate(feed()), start=1):
        if count == 4:
            answered.set()
    assert count == 5


@pytest.mark.timeout(60)
def test_rows_go_on_while_the_feed_has_nothing(backend, monkeypatch):
    monkeypatch.setattr(serving, "PATIENCE_SECONDS", 0.05)
    answered = threading.Event()

    def feed() -> Iterator[Request]:
        yield from requests((3,))
        assert answered.wait(30), "the only row waits for another one"
        yield from requests((2,))

    for _ in backend.generate(feed()):
        answered.set()
    assert answered.is_set()


def test_an_error_of_the_feed_is_raised_after_what_came_before(backend):
    def feed() -> Iterator[Request]:
        yield from requests((3, 3))
        raise KeyError("the feed")

    found = []
    with pytest.raises(KeyError, match="the feed"):
        found.extend(backend.generate(feed()))

"""Continuous batching: free slots are filled at once, and no batch changes a request's tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from phi4audio_cli.model import scheduler
from phi4audio_cli.model.torch_backend import TorchBackend
from phi4audio_cli.types import Generation, Request, RequestFailed
from tests.model.network_spy import NetworkSpy
from tests.model.small import noise_chunk, small_backend

BUDGETS = (9, 2, 5, 1, 12, 3, 3, 7, 2, 4)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[TorchBackend, NetworkSpy]:
    return small_backend(tmp_path_factory.mktemp("tokenizer"), batch_size=3)


@pytest.fixture
def spy(shared: tuple[TorchBackend, NetworkSpy]) -> NetworkSpy:
    shared[1].reset()
    return shared[1]


@pytest.fixture
def backend(shared: tuple[TorchBackend, NetworkSpy], spy: NetworkSpy) -> TorchBackend:
    backend, _ = shared
    backend.batch_size, backend.max_encoder_windows = 3, 1
    backend.on_status = lambda status: None
    return backend


def requests(budgets: tuple[int, ...] = BUDGETS) -> list[Request]:
    return [
        Request(job, noise_chunk(job, 0.4 + job % 4), "ABC", budget)
        for job, budget in enumerate(budgets)
    ]


@pytest.fixture(scope="module")
def alone(shared: tuple[TorchBackend, NetworkSpy]) -> dict[int, tuple[int, ...]]:
    found = {}
    for request in requests():
        [answer] = shared[0].generate([request])
        assert isinstance(answer, Generation)
        found[request.job] = answer.tokens
    return found


@pytest.fixture
def steps(spy: NetworkSpy) -> list[int]:
    """Collect the number of sequences of each decode step."""
    seen: list[int] = []
    spy.before_decode_step = lambda tokens, positions: seen.append(len(tokens))
    return seen


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
@pytest.mark.parametrize(("windows", "prefill"), [(1, 0), (4, 0), (4, 120), (10, 2048)])
def test_tokens_do_not_depend_on_the_sizes_of_batch_encoder_pass_and_prefill(
    backend, alone, monkeypatch, batch_size, windows, prefill
):
    backend.batch_size, backend.max_encoder_windows = batch_size, windows
    monkeypatch.setattr(backend.decoder, "max_batched_tokens", prefill)
    found = {answer.request.job: answer.tokens for answer in backend.generate(requests())}
    assert found == alone


def test_no_slot_is_free_while_a_request_waits(backend, steps):
    list(backend.generate(requests()))
    # The first token of each comes from the prefill, so a budget of n takes n - 1 steps.
    assert sum(steps) == sum(BUDGETS) - len(BUDGETS)
    last = max(index for index, count in enumerate(steps) if count == 3)
    assert set(steps[: last + 1]) == {3}
    assert sorted(steps[last + 1 :], reverse=True) == steps[last + 1 :]


def test_nan_in_a_slot_does_not_reach_the_next_sequence(backend):
    """The third request takes the slot of the second, which has NaN at more positions."""
    first = Request(0, noise_chunk(0, 6.0), "ABC", 30)
    third = Request(2, noise_chunk(2, 0.5), "ABC", 8)
    [expected] = backend.generate([third])
    chunk = noise_chunk(1, 4.0)
    bad = Request(1, replace(chunk, samples=chunk.samples * torch.nan), "ABC", 8)
    backend.batch_size = 2
    found = {answer.request.job: answer for answer in backend.generate([first, bad, third])}
    assert isinstance(found[1], RequestFailed)
    assert found[2].tokens == expected.tokens
    assert len(found[0].tokens) == 30


def test_the_cache_grows_for_a_longer_sequence_while_others_run(backend):
    lengths = ((0.5, 40), (0.5, 3), (0.4, 150))
    asked = [
        Request(job, noise_chunk(job, seconds), "ABC", tokens)
        for job, (seconds, tokens) in enumerate(lengths)
    ]
    expected = [next(backend.generate([request])).tokens for request in asked]
    backend.decoder.free_all()
    backend.decoder.free_cache()
    backend.batch_size = 2
    answers = backend.generate(asked)
    found = {(first := next(answers)).request.job: first.tokens}
    before = backend.decoder.cache.capacity
    found |= {answer.request.job: answer.tokens for answer in answers}
    assert [found[job] for job in range(3)] == expected
    assert backend.decoder.cache.capacity > before


def test_a_long_recording_counts_once_for_each_encoder_window(backend, steps):
    """Three slots take one recording of two encoder windows, or three of one."""
    asked = [Request(job, noise_chunk(job, 50.0), "ABC", 3) for job in range(2)]
    list(backend.generate([*asked, *requests((3, 3, 3))]))
    assert steps == [1, 1, 1, 1, 3, 3]


def test_prompts_are_prefilled_together(backend, spy, monkeypatch):
    sizes: list[int] = []
    spy.before_prefill = lambda slots, prompts: sizes.append(len(slots))
    backend.max_encoder_windows = 8
    monkeypatch.setattr(backend.decoder, "max_batched_tokens", 2048)
    list(backend.generate([*requests((3, 3, 3, 3, 3, 3)), None]))
    assert sizes == [3, 3]


def test_prompts_whose_common_prefill_fails_are_prefilled_alone(backend, spy, alone, monkeypatch):
    def fail(slots: list[int], prompts: list[torch.Tensor]) -> None:
        if len(slots) > 1:
            raise ValueError("unequal shapes")

    spy.before_prefill = fail
    backend.max_encoder_windows = 4
    monkeypatch.setattr(backend.decoder, "max_batched_tokens", 2048)
    found = {answer.request.job: answer.tokens for answer in backend.generate(requests())}
    assert found == alone


@pytest.mark.timeout(60)
def test_a_flush_answers_all_requests_before_it(backend):
    answered = threading.Event()

    def feed() -> Iterator[Request | None]:
        yield from requests((3, 3, 3, 3))
        yield None
        assert answered.wait(30), "the requests before the flush are not answered"
        yield from requests((2,))

    for count, _ in enumerate(backend.generate(feed()), start=1):
        if count == 4:
            answered.set()
    assert count == 5


@pytest.mark.timeout(60)
def test_decoding_goes_on_while_the_feed_blocks(backend, monkeypatch):
    monkeypatch.setattr(scheduler, "ADMISSION_WAIT_SECONDS", 0.05)
    answered = threading.Event()

    def feed() -> Iterator[Request]:
        yield from requests((3,))
        assert answered.wait(30), "the only sequence waits for another one"
        yield from requests((2,))

    for _ in backend.generate(feed()):
        answered.set()
    assert answered.is_set()


def test_an_error_of_the_feed_is_raised_after_the_answers_before_it(backend):
    def feed() -> Iterator[Request]:
        yield from requests((3, 3))
        raise KeyError("the feed")

    found = []
    with pytest.raises(KeyError, match="the feed"):
        found.extend(backend.generate(feed()))


@pytest.mark.timeout(60)
def test_a_stop_ends_the_run_after_the_running_batch_while_the_feed_blocks(backend):
    backend.batch_size = 2
    all_answered = threading.Event()
    given: list[Generation] = []

    def feed() -> Iterator[Request | None]:
        yield from requests((5, 5, 5))
        yield None
        all_answered.wait()  # as the pipeline does, because answers may lead to more requests

    for answer in backend.generate(feed(), lambda: bool(given)):
        assert isinstance(answer, Generation)
        given.append(answer)
    assert len(given) == 2, "the running batch"
    all_answered.set()


def test_long_audio_has_a_status_and_short_audio_has_none(backend):
    stages: list[str] = []
    backend.on_status = stages.append
    list(backend.generate([Request(0, noise_chunk(0, 2.0), "A", 2)]))
    assert stages == []
    list(backend.generate([Request(0, noise_chunk(0, 61.0), "A", 2)]))
    assert stages == ["encoding 1:01 of audio", "prefilling 767 positions", "decoding", ""]

"""Out of memory, and numbers that are not finite: only the requests concerned fail."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
import torch

from phi4audio_cli.errors import FileError
from phi4audio_cli.model.inputs import AudioInput
from phi4audio_cli.model.torch_backend import TorchBackend
from phi4audio_cli.types import Chunk, Generation, Request, RequestFailed
from tests.model.network_spy import NetworkSpy
from tests.model.small import noise_chunk, small_backend

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
CPU = RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to")
NUMPY = ValueError("Unable to convert output: Unable to allocate 1.83 MiB for an array")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[TorchBackend, NetworkSpy]:
    return small_backend(tmp_path_factory.mktemp("tokenizer"), stop_tokens=frozenset({1}))


@pytest.fixture
def spy(shared: tuple[TorchBackend, NetworkSpy]) -> Iterator[NetworkSpy]:
    yield shared[1]
    shared[1].reset()


@pytest.fixture
def backend(shared: tuple[TorchBackend, NetworkSpy], spy: NetworkSpy) -> TorchBackend:
    backend, _ = shared
    backend.batch_size, backend.max_encoder_windows = 8, 1
    backend.on_notice = lambda notice: None
    return backend


def requests(count: int = 8, seconds: float = 0.6) -> list[Request]:
    return [Request(each, noise_chunk(each, seconds), "ABC", 5) for each in range(count)]


def answers(backend: TorchBackend, asked: list[Request]) -> dict[int, Generation | RequestFailed]:
    found = list(backend.generate(asked))
    assert len(found) == len(asked)
    by_job = {answer.request.job: answer for answer in found}
    assert all(by_job[request.job].request is request for request in asked)
    return by_job


def tokens(found: dict[int, Generation | RequestFailed]) -> dict[int, tuple[int, ...] | None]:
    return {
        job: each.tokens if isinstance(each, Generation) else None for job, each in found.items()
    }


@pytest.fixture(scope="module")
def undisturbed(
    shared: tuple[TorchBackend, NetworkSpy],
) -> dict[int, tuple[int, ...] | None]:
    found = tokens(answers(shared[0], requests()))
    assert all(found.values())
    return found


def raise_above(spy: NetworkSpy, count: int, error: Exception, where: str) -> None:
    """Have passes of more than so many sequences fail, at the prefill or at the third token."""
    steps = 0

    def before_prefill(slots: list[int], prompts: list[torch.Tensor]) -> None:
        nonlocal steps
        steps = 0
        if where == "prefill" and max(slots) + 1 > count:
            raise error

    def before_decode_step(tokens: list[int], positions: list[int]) -> None:
        nonlocal steps
        steps += 1
        if where == "third token" and steps == 2 and len(tokens) > count:
            raise error

    spy.before_prefill, spy.before_decode_step = before_prefill, before_decode_step


@pytest.mark.parametrize("error", [CUDA, CPU, MemoryError()], ids=["cuda", "cpu", "python"])
@pytest.mark.parametrize(("where", "fitting"), [("prefill", 3), ("third token", 2)])
def test_the_batch_size_is_reduced_until_it_fits(backend, spy, undisturbed, error, where, fitting):
    notices: list[str] = []
    backend.on_notice = notices.append
    raise_above(spy, 3, error, where)
    assert tokens(answers(backend, requests())) == undisturbed
    assert backend.batch_size == fitting
    assert len(notices) == 1
    assert "8 chunks at once" in notices[0]
    assert f"at most {fitting}" in notices[0]


def test_an_encoder_pass_is_halved_when_memory_runs_out(backend, spy, undisturbed):
    passes: list[int] = []

    def before_encode(clips: list[torch.Tensor]) -> None:
        if len(clips) > 4:
            raise CUDA
        passes.append(len(clips))

    spy.before_encode = before_encode
    backend.max_encoder_windows = 8
    assert tokens(answers(backend, requests())) == undisturbed
    assert backend.batch_size == 8  # the decoder had room
    assert sum(passes) == 8
    assert max(passes) == 4


def test_audio_is_not_encoded_again_when_the_decoder_is_retried(backend, spy):
    passes: list[int] = []
    raise_above(spy, 2, CUDA, "prefill")
    spy.before_encode = lambda clips: passes.append(len(clips))
    answers(backend, requests())
    assert sum(passes) == 8


def test_a_batch_size_that_fits_is_kept_for_later_requests(backend, spy):
    failed: list[int] = []

    def before_prefill(slots: list[int], prompts: list[torch.Tensor]) -> None:
        if max(slots) + 1 > 4:
            failed.append(max(slots) + 1)
            raise CUDA

    spy.before_prefill = before_prefill
    answers(backend, requests())
    answers(backend, requests())
    assert failed == [8, 5]  # all together, then one by one


@pytest.mark.slow
def test_a_request_that_never_fits_fails_alone(backend, spy, undisturbed):
    def before_prefill(slots: list[int], prompts: list[torch.Tensor]) -> None:
        if max(map(len, prompts)) > 40:  # the long one's
            raise CUDA

    spy.before_prefill = before_prefill
    long = Request(99, noise_chunk(99, 5.0), "ABC", 5)
    found = answers(backend, [*requests(), long])
    lost = found.pop(99)
    assert isinstance(lost, RequestFailed)
    assert isinstance(lost.error, FileError)
    assert "from 99.0 to 104.0 s" in str(lost.error)
    assert "--chunk-seconds" in str(lost.error)
    assert "--dtype bfloat16" in str(lost.error)
    assert tokens(found) == undisturbed
    assert backend.batch_size == 8  # the batch was not the cause


def test_tensors_of_a_failed_pass_are_released_before_the_retry(backend, spy):
    allocated: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def before_encode(clips: list[torch.Tensor]) -> None:
        alive.append(sum(each() is not None for each in allocated))
        if len(clips) > 1:
            large = torch.zeros(10)
            allocated.append(weakref.ref(large))
            raise CUDA

    spy.before_encode = before_encode
    backend.max_encoder_windows = 8
    gc.disable()  # the release must not depend on the collector
    try:
        answers(backend, requests())
    finally:
        gc.enable()
    assert len(allocated) == 3
    assert not any(alive)


def test_embeddings_that_are_not_finite_fail_their_own_request_only(backend, spy, undisturbed):
    def on_embeddings(embeddings: list[torch.Tensor]) -> None:
        embeddings[2][:] = torch.nan

    spy.on_embeddings = on_embeddings
    backend.max_encoder_windows = 8
    found = answers(backend, requests())
    lost = [job for job, each in found.items() if isinstance(each, RequestFailed)]
    assert len(lost) == 1
    assert "overflow" in str(found.pop(lost[0]).error)
    assert tokens(found) == {job: each for job, each in undisturbed.items() if job not in lost}


@pytest.mark.parametrize("step", [0, 2], ids=["first token", "third token"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_are_not_finite_end_no_answer(shared, spy, step, value):
    # The best of such logits is token 0, which is a stop token here.
    backend = TorchBackend(spy, shared[0].builder, frozenset({0, 1}), 8)
    expected = tokens(answers(backend, requests()))
    steps = 0

    def on_logits(logits: torch.Tensor) -> None:
        nonlocal steps
        if steps == step:
            logits[-1] = value
        steps += 1

    spy.on_logits = on_logits
    found = answers(backend, requests())
    [lost] = [job for job, each in found.items() if isinstance(each, RequestFailed)]
    assert "overflow" in str(found.pop(lost).error)
    del expected[lost]
    assert tokens(found) == expected


@pytest.mark.parametrize("error", [MemoryError(), NUMPY, ValueError("no frames")])
def test_a_request_that_cannot_be_prepared_fails_alone(backend, undisturbed, monkeypatch, error):
    extract = backend.builder.extract_audio

    def fail(chunk: Chunk) -> AudioInput:
        if chunk.index == 99:
            raise error
        return extract(chunk)

    monkeypatch.setattr(backend.builder, "extract_audio", fail)
    asked = requests()
    asked.insert(3, Request(99, noise_chunk(99, 0.6), "ABC", 5))
    found = answers(backend, asked)
    lost = found.pop(99)
    assert isinstance(lost, RequestFailed)
    assert isinstance(lost.error, ValueError if "frames" in str(error) else FileError)
    assert tokens(found) == undisturbed


@pytest.mark.timeout(60)
def test_a_preparation_error_is_reported_while_the_feed_blocks(backend, monkeypatch):
    def fail(chunk: Chunk) -> AudioInput:
        raise ValueError("no frames")

    monkeypatch.setattr(backend.builder, "extract_audio", fail)
    reported = threading.Event()

    def feed() -> Iterator[Request | None]:
        yield Request(0, noise_chunk(0, 0.6), "ABC", 5)
        yield None
        assert reported.wait(20), "the flush came, and the error is not reported"

    for answer in backend.generate(feed()):
        assert isinstance(answer, RequestFailed)
        reported.set()
    assert reported.is_set()

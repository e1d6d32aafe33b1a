"""Exceptions of the network: ours before any answer, a recording's when only that one fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from phi4audio_cli.errors import ExitCode, ModelError, NetworkError
from phi4audio_cli.model.failure_tracker import MAX_CONSECUTIVE_FAILURES
from phi4audio_cli.types import Generation, Request, RequestFailed
from tests.model.network_spy import NetworkSpy
from tests.model.small import noise_chunk, small_backend

WORDS_OF_A_BUG = "update() got an unexpected keyword argument 'kwargs'"


def request(job: int, *, align: bool = False) -> Request:
    return Request(job, noise_chunk(job, 0.6), "ABC", 5, align=align)


def requests(first: int, count: int) -> list[Request]:
    return [request(job) for job in range(first, first + count)]


def bug(*_: object) -> None:
    raise TypeError(f"{WORDS_OF_A_BUG}\nand more lines")


@pytest.mark.parametrize("callback", ["before_encode", "before_prefill", "before_decode_step"])
@pytest.mark.parametrize("count", [1, 8])
def test_before_any_answer_the_first_exception_ends_the_run(tmp_path: Path, callback, count):
    backend, spy = small_backend(tmp_path)
    calls: list[int] = []

    def fail(*_: object) -> None:
        calls.append(1)
        bug()

    setattr(spy, callback, fail)
    with pytest.raises(NetworkError) as caught:
        list(backend.generate(requests(0, count)))
    assert len(calls) == 1
    assert caught.value.exit_code == ExitCode.BUG
    message = str(caught.value)
    assert f"TypeError: {WORDS_OF_A_BUG}" in message
    assert "phi4audio doctor" in message
    assert "\n" not in message


def test_an_exception_of_the_word_times_pass_ends_the_run_too(tmp_path: Path):
    backend, spy = small_backend(tmp_path)
    spy.before_rescore = bug
    with pytest.raises(NetworkError, match="unexpected keyword"):
        list(backend.generate([request(0, align=True)]))


def test_logits_that_are_not_finite_in_the_first_recording_fail_that_recording(tmp_path: Path):
    backend, spy = small_backend(tmp_path, batch_size=1)
    steps = 0

    def on_logits(logits: torch.Tensor) -> None:
        nonlocal steps
        if steps == 0:
            logits[:] = torch.nan
        steps += 1

    spy.on_logits = on_logits
    first, second = backend.generate(requests(0, 2))
    assert isinstance(first, RequestFailed)
    assert "overflow" in str(first.error)
    assert isinstance(second, Generation)


def test_out_of_memory_before_any_answer_is_retried(tmp_path: Path):
    backend, spy = small_backend(tmp_path)

    def before_prefill(slots: list[int], prompts: list[torch.Tensor]) -> None:
        if len(slots) > 1 or max(slots) > 0:
            raise MemoryError

    spy.before_prefill = before_prefill
    assert all(isinstance(each, Generation) for each in backend.generate(requests(0, 3)))


def fail_on(spy: NetworkSpy, marked: torch.Tensor) -> None:
    """Have encoder passes fail that contain some features."""

    def before_encode(clips: list[torch.Tensor]) -> None:
        if any(torch.equal(clip[: len(marked)], marked) for clip in clips):
            raise ValueError("unequal shapes")

    spy.before_encode = before_encode


@pytest.mark.slow
def test_after_an_answer_an_exception_fails_only_the_request_that_causes_it(tmp_path: Path):
    backend, spy = small_backend(tmp_path)
    expected = [each.tokens for each in sorted_answers(backend.generate(requests(0, 8)))]
    bad = request(99)
    fail_on(spy, backend.builder.extract_audio(bad.chunk).features)
    backend.max_encoder_windows = 8
    *others, lost = sorted_answers(backend.generate([*requests(0, 8), bad]))
    assert isinstance(lost, RequestFailed)
    assert isinstance(lost.error, ValueError)
    assert [each.tokens for each in others] == expected
    assert backend.batch_size == 8


def sorted_answers(answers) -> list:
    return sorted(answers, key=lambda answer: answer.request.job)


@pytest.mark.slow
def test_many_recordings_that_fail_in_a_row_end_the_run(tmp_path: Path):
    backend, spy = small_backend(tmp_path)
    list(backend.generate(requests(0, 1)))
    spy.before_prefill = bug
    found: list[Generation | RequestFailed] = []
    with pytest.raises(NetworkError, match=f"{MAX_CONSECUTIVE_FAILURES} recordings in a row"):
        found.extend(backend.generate(requests(1, MAX_CONSECUTIVE_FAILURES + 5)))
    assert len(found) == MAX_CONSECUTIVE_FAILURES - 1
    assert all(isinstance(each, RequestFailed) for each in found)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later",
        "CUDA error: an illegal memory access was encountered",
    ],
)
def test_a_lost_device_ends_the_run_without_a_retry(tmp_path: Path, text):
    backend, spy = small_backend(tmp_path)
    tries: list[int] = []

    def before_prefill(slots: list[int], prompts: list[torch.Tensor]) -> None:
        tries.append(len(slots))
        raise RuntimeError(text)

    spy.before_prefill = before_prefill
    with pytest.raises(ModelError, match="the same command resumes") as caught:
        list(backend.generate(requests(0, 8)))
    assert tries == [8]
    assert "\n" not in str(caught.value)

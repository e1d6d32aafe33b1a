"""A device that runs out of memory, or fails otherwise, costs what can't be helped and no more."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from phi4audio_cli.errors import FileError, ModelError
from phi4audio_cli.model.decoder import Decoder
from phi4audio_cli.model.inputs import InputBuilder
from phi4audio_cli.model.local import LocalBackend
from phi4audio_cli.model.serving import STRUCK_IN_A_ROW
from phi4audio_cli.types import Chunk, Generation, Request, RequestFailed
from tests.model.small import save_tokenizer, small_model

RATE = 16_000
CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
CPU = RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to")
NUMPY = ValueError("Unable to convert output: Unable to allocate 1.83 MiB for an array")

Seen = Callable[[int, int, bool], None]
"""Called before each pass with rows, positions and whether it is a prefill; may raise."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> LocalBackend:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return LocalBackend(small_model(), InputBuilder.from_folder(folder), frozenset({1}), 8)


@pytest.fixture
def backend(shared: LocalBackend) -> Iterator[LocalBackend]:
    shared.batch_size = 8
    yield shared
    shared.on_note = lambda note: None


def chunk(index: int, seconds: float) -> Chunk:
    generator = torch.Generator().manual_seed(index)
    samples = torch.randn(int(seconds * RATE), generator=generator).numpy()
    return Chunk(index, samples, RATE, index * RATE)


def requests(count: int = 8, seconds: float = 0.6) -> list[Request]:
    return [Request(each, chunk(each, seconds), "ABC", 5) for each in range(count)]


def answers(backend: LocalBackend, asked: list[Request]) -> dict[int, Generation | RequestFailed]:
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
def undisturbed(shared: LocalBackend) -> dict[int, tuple[int, ...] | None]:
    found = tokens(answers(shared, requests()))
    assert all(found.values())
    return found


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Seen], None]:
    """Have a function called before each pass of the decoder."""
    read, step = Decoder.read, Decoder.step

    def watch(seen: Seen) -> None:
        def before_read(self: Decoder, places, prompts):
            seen(max(places) + 1, max(map(len, prompts)), True)
            return read(self, places, prompts)

        def before_step(self: Decoder, tokens, positions):
            seen(len(tokens), max(positions) + 1, False)
            return step(self, tokens, positions)

        monkeypatch.setattr(Decoder, "read", before_read)
        monkeypatch.setattr(Decoder, "step", before_step)

    return watch


def raise_over(rows: int, error: Exception, where: str) -> Seen:
    """Fail with more than so many rows: at the prefill, or at the third token."""
    steps = 0

    def seen(count: int, positions: int, prefill: bool) -> None:
        nonlocal steps
        steps = 0 if prefill else steps + 1
        if count > rows and (prefill if where == "prefill" else steps == 2):
            raise error

    return seen


@pytest.mark.parametrize("error", [CUDA, CPU, MemoryError()], ids=["cuda", "cpu", "python"])
@pytest.mark.parametrize(("where", "fitting"), [("prefill", 3), ("third token", 2)])
def test_fewer_rows_are_tried_until_they_fit(backend, watched, undisturbed, error, where, fitting):
    notes: list[str] = []
    backend.on_note = notes.append
    watched(raise_over(3, error, where))
    assert tokens(answers(backend, requests())) == undisturbed
    assert backend.batch_size == fitting
    assert len(notes) == 1
    assert "8 chunks at once" in notes[0]
    assert f"{fitting} at most" in notes[0]


def test_the_encoder_may_be_what_does_not_fit(backend, undisturbed, monkeypatch):
    heard: list[int] = []
    embed = backend.model.audio.embed

    def fail(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        if len(features) > 4:
            raise CUDA
        heard.append(len(features))
        return embed(features, mask)

    monkeypatch.setattr(backend.model.audio, "embed", fail)
    monkeypatch.setattr(backend, "heard_together", 8)
    assert tokens(answers(backend, requests())) == undisturbed
    assert backend.batch_size == 8  # the decoder had room
    assert sum(heard) == 8
    assert max(heard) == 4


def test_audio_is_not_heard_again_for_a_retry_of_the_decoder(backend, watched, monkeypatch):
    heard: list[int] = []
    embed = backend.model.audio.embed

    def count(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        heard.append(len(features))
        return embed(features, mask)

    monkeypatch.setattr(backend.model.audio, "embed", count)
    watched(raise_over(2, CUDA, "prefill"))
    answers(backend, requests())
    assert sum(heard) == 8


def test_the_size_that_worked_is_kept_for_what_comes(backend, watched):
    failed: list[int] = []

    def seen(rows: int, positions: int, prefill: bool) -> None:
        if rows > 4:
            failed.append(rows)
            raise CUDA

    watched(seen)
    answers(backend, requests())
    answers(backend, requests())
    assert failed == [8, 5]  # all together, then one after the other


def test_one_request_that_never_fits_fails_alone(backend, watched, undisturbed):
    def seen(rows: int, positions: int, prefill: bool) -> None:
        if positions > 40:  # the long one's, with whatever is beside it
            raise CUDA

    watched(seen)
    long = Request(99, chunk(99, 5.0), "ABC", 5)
    found = answers(backend, [*requests(), long])
    lost = found.pop(99)
    assert isinstance(lost, RequestFailed)
    assert isinstance(lost.error, FileError)
    assert "from 99.0 to 104.0 s" in str(lost.error)
    assert "--chunk-seconds" in str(lost.error)
    assert "--dtype bfloat16" in str(lost.error)
    assert tokens(found) == undisturbed
    assert backend.batch_size == 8  # it was no fault of the batch


def test_what_a_failed_batch_held_is_let_go(backend, monkeypatch):
    held: list[weakref.ref[torch.Tensor]] = []
    left: list[int] = []
    embed = backend.model.audio.embed

    def fail(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        left.append(sum(each() is not None for each in held))
        if len(features) > 1:
            large = torch.zeros(10)
            held.append(weakref.ref(large))
            raise CUDA
        return embed(features, mask)

    monkeypatch.setattr(backend.model.audio, "embed", fail)
    monkeypatch.setattr(backend, "heard_together", 8)
    gc.disable()  # what is let go must not wait for the collector
    try:
        answers(backend, requests())
    finally:
        gc.enable()
    assert len(held) == 3
    assert not any(left)


def test_another_error_is_pinned_on_the_request_that_causes_it(backend, undisturbed, monkeypatch):
    bad = Request(99, chunk(99, 0.6), "ABC", 5)
    marked = backend.inputs.hear(bad.chunk)
    embed = backend.model.audio.embed

    def fail(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        if any(torch.equal(row[: len(marked)], marked) for row in features):
            raise ValueError("shapes don't fit")
        return embed(features, mask)

    monkeypatch.setattr(backend.model.audio, "embed", fail)
    found = answers(backend, [*requests(), bad])
    lost = found.pop(99)
    assert isinstance(lost, RequestFailed)
    assert isinstance(lost.error, ValueError)
    assert tokens(found) == undisturbed
    assert backend.batch_size == 8


def test_numbers_that_overflow_cost_their_own_request_only(backend, undisturbed, monkeypatch):
    embed = backend.model.audio.embed

    def overflow(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        embedded = embed(features, mask).clone()
        embedded[2] = torch.nan
        return embedded

    monkeypatch.setattr(backend.model.audio, "embed", overflow)
    monkeypatch.setattr(backend, "heard_together", 8)
    found = answers(backend, requests())
    lost = [job for job, each in found.items() if isinstance(each, RequestFailed)]
    assert len(lost) == 1
    assert "overflow" in str(found.pop(lost[0]).error)
    assert tokens(found) == {job: said for job, said in undisturbed.items() if job not in lost}


@pytest.mark.parametrize("step", [0, 2], ids=["first token", "third token"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_overflow_in_the_decoder_are_no_end_of_an_answer(
    shared, step, value, monkeypatch
):
    # The best of numbers that are none is token 0, and that ends an answer in this model.
    backend = LocalBackend(shared.model, shared.inputs, frozenset({0, 1}), 8)
    expected = tokens(answers(backend, requests()))
    steps = 0

    def overflow(self: Decoder, hidden: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        logits = logits_of(self, hidden)
        if steps == step:
            logits[-1] = value
        steps += 1
        return logits

    logits_of = Decoder._logits
    monkeypatch.setattr(Decoder, "_run_checkpoint", overflow)
    found = answers(backend, requests())
    [lost] = [job for job, each in found.items() if isinstance(each, RequestFailed)]
    assert "overflow" in str(found.pop(lost).error)
    del expected[lost]
    assert tokens(found) == expected


@pytest.mark.parametrize("error", [MemoryError(), NUMPY, ValueError("no frames")])
def test_a_request_that_cannot_be_prepared_costs_itself_only(
    backend, undisturbed, monkeypatch, error
):
    hear = backend.inputs.hear

    def fail(of: Chunk) -> torch.Tensor:
        if of.index == 99:
            raise error
        return hear(of)

    monkeypatch.setattr(backend.inputs, "hear", fail)
    asked = requests()
    asked.insert(3, Request(99, chunk(99, 0.6), "ABC", 5))
    found = answers(backend, asked)
    lost = found.pop(99)
    assert isinstance(lost, RequestFailed)
    assert isinstance(lost.error, ValueError if "frames" in str(error) else FileError)
    assert tokens(found) == undisturbed


def test_what_cannot_be_prepared_is_told_although_nothing_else_comes(backend, monkeypatch):
    def fail(of: Chunk) -> torch.Tensor:
        raise ValueError("no frames")

    monkeypatch.setattr(backend.inputs, "hear", fail)
    told = threading.Event()

    def feed() -> Iterator[Request | None]:
        yield Request(0, chunk(0, 0.6), "ABC", 5)
        yield None
        assert told.wait(20), "the flush came and the request was not given back"

    for answer in backend.generate(feed()):
        assert isinstance(answer, RequestFailed)
        told.set()
    assert told.is_set()


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later",
        "CUDA error: an illegal memory access was encountered",
    ],
)
def test_a_lost_device_is_not_tried_again(backend, watched, text):
    tries: list[int] = []

    def seen(rows: int, positions: int, prefill: bool) -> None:
        tries.append(rows)
        raise RuntimeError(text)

    watched(seen)
    with pytest.raises(ModelError, match="the same command goes on") as caught:
        list(backend.generate(requests()))
    assert tries == [8]
    assert "\n" not in str(caught.value)


def test_an_error_that_nothing_escapes_is_raised_as_what_it_is(backend, watched):
    def seen(rows: int, positions: int, prefill: bool) -> None:
        raise TypeError("a bug")

    watched(seen)
    found: list[Generation | RequestFailed] = []
    with pytest.raises(TypeError, match="a bug"):
        found.extend(backend.generate(requests(STRUCK_IN_A_ROW + 5)))

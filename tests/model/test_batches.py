"""Several requests about one chunk: heard once, answered as alone; and text without audio."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.inputs import InputBuilder
from phi4audio_cli.model.local import LocalBackend
from phi4audio_cli.types import Chunk, Request
from tests.model.small import save_tokenizer, small_model

RATE = 16_000


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> LocalBackend:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return LocalBackend(small_model(), InputBuilder.from_folder(folder), frozenset({0, 1}), 3)


def chunk(index: int, seconds: float) -> Chunk:
    generator = torch.Generator().manual_seed(index)
    samples = torch.randn(int(seconds * RATE), generator=generator).numpy()
    return Chunk(index, samples, RATE, 0)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_chunk_is_heard_once_for_all_its_requests(
    backend: LocalBackend, batch_size: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backend, "batch_size", batch_size)
    chunks = [chunk(index, 1 + index % 3) for index in range(5)]
    requests = [Request(0, each, text, 6) for each in chunks for text in "ABCDE"]
    heard: list[int] = []
    embed = backend.model.audio.embed

    def count(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        heard.append(len(features))
        return embed(features, mask)

    monkeypatch.setattr(backend.model.audio, "embed", count)
    together = {id(answer.request): answer for answer in backend.generate(requests)}
    assert sum(heard) == len(chunks)
    assert len(together) == len(requests)
    for request in requests[::4]:
        [alone] = backend.generate([request])
        assert together[id(request)].tokens == alone.tokens


def test_a_request_without_audio_among_others_is_answered_as_alone(backend: LocalBackend):
    requests = [
        Request(0, chunk(0, 2.0), "AB", 8),
        Request(0, None, "DEFGHDEFGH", 8),
        Request(0, None, "K", 8, system="LMN"),
        Request(0, chunk(1, 1.0), "C", 8, system="OP"),
    ]
    together = list(backend.generate(requests))
    assert len(together) == 4
    for request in requests:
        [alone] = backend.generate([request])
        [same] = [answer for answer in together if answer.request is request]
        assert same.tokens == alone.tokens


def test_without_audio_the_tokens_are_those_of_a_plain_forward(backend: LocalBackend):
    one = backend.inputs.prepare(Request(0, None, "DEFGH", 8, system="AB"))
    ids = [*one.before, *one.after]
    [answer] = generate(backend.model, [one], set())
    for _ in range(8):
        with torch.no_grad():
            logits = backend.model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
    assert answer.tokens == ids[-8:]


def test_the_system_text_is_a_turn_before_the_users(backend: LocalBackend):
    tokenizer = backend.inputs.tokenizer
    one = backend.inputs.prepare(Request(0, chunk(0, 1.0), "CD", 8, system="A<|end|>B"))
    names = [tokenizer.id_to_token(token) for token in one.before]
    assert (names[0], names[-2], names[-1]) == ("<|system|>", "<|end|>", "<|user|>")
    assert names.count("<|end|>") == 1  # what the user wrote is text
    assert [tokenizer.id_to_token(t) for t in one.after] == ["C", "D", "<|end|>", "<|assistant|>"]
    plain = backend.inputs.prepare(Request(0, chunk(0, 1.0), "CD", 8))
    assert [tokenizer.id_to_token(token) for token in plain.before] == ["<|user|>"]


def test_long_audio_tells_its_stages_and_short_audio_does_not(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
):
    stages: list[str] = []
    monkeypatch.setattr(backend, "on_stage", stages.append)
    list(backend.generate([Request(0, chunk(0, 2.0), "A", 2)]))
    assert stages == []
    list(backend.generate([Request(0, chunk(0, 61.0), "A", 2)]))
    assert stages == ["hearing 1:01 of audio", "reading 767 positions", "writing", ""]

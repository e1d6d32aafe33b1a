"""Several requests about one chunk: heard once, answered as alone; and text without audio."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.model.batches import batches, windows
from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.inputs import InputBuilder, Pending, Prepared
from phi4audio_cli.model.local import LocalBackend
from phi4audio_cli.types import Chunk, Request
from tests.model.small import encoders, features, save_tokenizer, small_model

RATE = 16_000


def pending(group: int, frames: int, text: int = 4) -> Pending:
    """Return a request; those of a group share their chunk. No frames: text only."""
    heard = FEATURES.setdefault((group, frames), torch.zeros(frames, 80)) if frames else None
    return Request(group, None, "", 1), Prepared(heard, (2,), tuple(range(text)), 8)


FEATURES: dict[tuple[int, int], torch.Tensor] = {}

GROUPS = st.lists(
    st.tuples(st.sampled_from([0, 100, 400, 4000, 4001, 9000]), st.integers(1, 4)), max_size=9
)


def rows(groups: list[tuple[int, int]]) -> list[Pending]:
    return [
        pending(number, frames, text=2 + place)
        for number, (frames, count) in enumerate(groups)
        for place in range(count)
    ]


@given(groups=GROUPS, size=st.integers(1, 6))
def test_batches_hold_every_request_once_within_their_limits(groups, size: int):
    items = rows(groups)
    found = list(batches(items, size, lambda row: row.audio_length > 1000))
    assert sorted(id(item) for batch in found for item in batch) == sorted(map(id, items))
    for batch in found:
        longest = max(row.audio_length for _, row in batch)
        assert len(batch) == 1 or len(batch) * max(1, -(-longest // 500)) <= size
        assert len(batch) == 1 or longest <= 1000
    for number, (frames, count) in enumerate(groups):
        if 0 < frames <= 4000 and count <= size:
            assert sum(any(of.job == number for of, _ in batch) for batch in found) == 1


@given(groups=GROUPS, size=st.integers(1, 6), flush=st.integers(0, 30))
def test_windows_divide_no_chunk_and_end_at_a_flush(groups, size: int, flush: int):
    items: list[Pending | None] = list(rows(groups))
    items.insert(flush, None)
    found = list(windows(items, size))
    assert [item for window in found for item in window] == [each for each in items if each]
    ends = {id(window[-1]) for window in found}
    before = items[items.index(None) - 1] if items.index(None) else None
    assert before is None or id(before) in ends
    for left, right in pairwise(items):
        if left and right and right[1].features is not None:
            together = left[1].features is right[1].features
            assert not (together and id(left) in ends)


def test_a_window_is_given_at_the_flush_and_not_later():
    taken: list[int] = []

    def feed():
        for number in range(2):
            taken.append(number)
            yield pending(number, 100)
        yield None
        raise AssertionError("the next item was asked for before the window was given")

    assert len(next(windows(feed(), 30))) == 2


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


@pytest.mark.parametrize("lengths", [[8001], [16_000], [24_003, 8000, 5], [17_001, 16_009]])
def test_subsampling_in_blocks_is_subsampling(lengths: list[int]):
    """Recordings over 80 s are subsampled in blocks: the same frames, bit for bit or nearly."""
    ours, _ = encoders("sdpa")
    clips = [features(length, seed) for seed, length in enumerate(lengths)]
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    sizes = torch.tensor(lengths) if len(lengths) > 1 else None
    with torch.no_grad():
        blocks, frames = ours.embed(padded, sizes)
        whole, whole_frames = ours.embed._subsample(padded, sizes)
    torch.testing.assert_close(blocks, whole, rtol=1e-5, atol=1e-5)
    if sizes is not None:
        assert torch.equal(frames, whole_frames)


def test_long_audio_tells_its_stages_and_short_audio_does_not(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
):
    stages: list[str] = []
    monkeypatch.setattr(backend, "on_stage", stages.append)
    list(backend.generate([Request(0, chunk(0, 2.0), "A", 2)]))
    assert stages == []
    list(backend.generate([Request(0, chunk(0, 61.0), "A", 2)]))
    assert stages == ["hearing 1:01 of audio", "reading 767 positions", "writing", ""]

"""Word times: heads that follow the audio, tokens to words, and the pass over finished outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from phi4audio_cli.model import word_timestamps
from phi4audio_cli.model.batch_decoder import BatchDecoder, RunningSequence, SequenceOutput
from phi4audio_cli.model.inputs import ModelInput
from phi4audio_cli.model.word_timestamps import (
    MAX_HEADS,
    TopHeads,
    align_words,
    alignment_scores,
    split_to_word_tokens,
)
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.types import Word
from tests.model.generate import embed_audio
from tests.model.small import prompt
from tests.network.networks import small_network


def head(places: list[float], frames: int = 100, width: float = 1.5) -> torch.Tensor:
    """Return a head that attends to one place for each token, (tokens, frames)."""
    grid = torch.arange(frames, dtype=torch.float32)
    weights = torch.exp(-((grid - torch.tensor(places)[:, None]) ** 2) / (2 * width**2))
    return weights / weights.sum(dim=1, keepdim=True)


FOLLOWS = [5.0, 20.0, 33.0, 50.0, 71.0, 90.0]


def test_a_head_that_follows_the_audio_scores_above_all_others():
    others = {
        "stays at the first frame": head([0.0] * 6),
        "moves backwards": head(FOLLOWS[::-1]),
        "jumps": head([50.0, 5.0, 90.0, 20.0, 71.0, 33.0]),
        "attends to everything": torch.full((6, 100), 0.01),
    }
    scores = alignment_scores(torch.stack([head(FOLLOWS), *others.values()])).tolist()
    assert scores[0] > 0.8
    for name, score in zip(others, scores[1:], strict=True):
        assert score < 0.3, name


def test_the_best_heads_of_all_layers_are_kept():
    best = TopHeads()
    noise = torch.rand(12, 6, 100, generator=torch.Generator().manual_seed(1)).softmax(dim=-1)
    best.add(noise)
    best.add(torch.stack([head(FOLLOWS, width=2.0), head([0.0] * 6)]))
    best.add(noise.flip(0))
    assert len(best.scores) == MAX_HEADS
    torch.testing.assert_close(best.mean(), head(FOLLOWS, width=2.0))


def test_heads_whose_focus_is_not_computed_are_not_among_the_best():
    generator = torch.Generator().manual_seed(3)
    blurred = [head(FOLLOWS, width=float(width)) for width in range(1, 12)]
    noise = [torch.rand(6, 100, generator=generator).softmax(dim=-1) for _ in range(13)]
    every = torch.stack([*blurred, *noise])[torch.randperm(24, generator=generator)]
    best = TopHeads()
    for layer in every.split(4):
        best.add(layer)
    expected = alignment_scores(every).sort(descending=True).values[:MAX_HEADS]
    torch.testing.assert_close(torch.tensor(best.scores), expected)


VOCABULARY = [
    "seven",
    " two",
    " hun",
    "dred",
    ".",
    " ",
    "你",
    "好",
    b"\xe4\xb8",
    b"\x96",
    "?",
    "don",
    "'t",
]


def decode(tokens: Sequence[int]) -> str:
    pieces = (VOCABULARY[token] for token in tokens)
    joined = b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)
    return joined.decode(errors="replace")


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([0, 1, 2, 3, 4], ["seven", " two", " hundred."]),
        ([6, 7, 4], ["你", "好."]),
        ([6, 8, 9, 10], ["你", "世?"]),
        ([11, 12, 1], ["don't", " two"]),
        ([], []),
    ],
)
def test_tokens_are_grouped_into_words(tokens, words):
    grouped = split_to_word_tokens(tokens, decode)
    assert [word.text for word in grouped] == words
    covered = [index for word in grouped for index in range(word.first, word.stop)]
    assert covered == list(range(len(tokens)))


def finished(
    network: Phi4Audio, batch: list[ModelInput], outputs: list[list[int]]
) -> tuple[BatchDecoder, list[RunningSequence]]:
    """Return sequences with given outputs, whose prompts are in the cache."""
    decoder = BatchDecoder(network, set())
    lengths = [one.prompt_length + len(out) for one, out in zip(batch, outputs, strict=True)]
    decoder.allocate(len(batch), max(lengths))
    sequences = decoder.prefill(list(zip(batch, embed_audio(network, batch), strict=True)))
    for sequence, tokens, length in zip(sequences, outputs, lengths, strict=True):
        sequence.output = SequenceOutput(tokens, [-0.1] * len(tokens), "stop")
        sequence.length = length
    return decoder, sequences


def words_of(
    network: Phi4Audio, batch: list[ModelInput], outputs: list[list[int]]
) -> list[tuple[Word, ...]]:
    decoder, sequences = finished(network, batch, outputs)
    return [align_words(network, decoder.cache, each, letters) for each in sequences]


def letters(tokens: Sequence[int]) -> str:
    return "".join(f" {token}" for token in tokens)


def test_the_observed_attention_is_that_of_the_decoding_steps():
    """Queries and keys of the pass give the attention that predicted each token."""
    network = small_network()
    one, tokens = prompt(300), [7, 8, 9, 10, 11]
    decoder, [sequence] = finished(network, [one], [tokens])
    start, seen = one.prompt_length - 1, []
    inputs = [one.suffix_ids[-1], *tokens[:-1]]

    def observe(layer: int, queries: torch.Tensor) -> None:
        keys = decoder.cache.keys[layer][sequence.slot, :, : start + len(tokens)]
        shared = keys.repeat_interleave(len(queries) // len(keys), dim=0)
        seen.append((queries @ shared.transpose(1, 2) / math.sqrt(queries.shape[-1])).clone())

    with torch.inference_mode():
        network.rescore(decoder.cache, sequence.slot, inputs, start, sequence.length, observe)
        cache = network.new_cache(1, 64)
        whole = torch.cat([
            network.embed(one.prefix_ids),
            *embed_audio(network, [one]),
            network.embed([*one.suffix_ids, *tokens]),
        ])  # fmt: skip
        network.prefill(cache, [0], [whole])
    assert len(seen) == network.config.num_hidden_layers
    for layer in range(len(seen)):
        ours = decoder.cache.keys[layer][sequence.slot, :, : start + len(tokens)]
        torch.testing.assert_close(ours, cache.keys[layer][0, :, : start + len(tokens)])
        assert seen[layer].shape[:2] == (network.config.num_attention_heads, len(tokens))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_words_have_the_same_times_in_a_batch_and_alone(monkeypatch, dtype):
    monkeypatch.setattr(word_timestamps, "MIN_HEAD_SCORE", -1.0)  # no random head follows audio
    network = small_network().to(dtype)
    batch = [prompt(frames, seed) for seed, frames in enumerate((300, 80, 900))]
    outputs = [[7, 8, 9, 10], [11, 12, 13], [8, 9, 20, 21, 22, 23, 24, 25]]
    together = words_of(network, batch, outputs)
    for index, one in enumerate(batch):
        [alone] = words_of(network, [one], [outputs[index]])
        assert alone
        assert alone == together[index]
    for words, one in zip(together, batch, strict=True):
        edges = [edge for word in words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        assert all(word.start < word.end for word in words)
        assert edges[-1] <= one.audio_length * 0.08 + 1e-9


def test_words_have_no_times_where_no_head_follows_the_audio():
    [words, nothing] = words_of(
        small_network(), [prompt(300), prompt(90)], [list(range(7, 40)), []]
    )
    assert words == ()
    assert nothing == ()


def test_words_of_a_prompt_without_audio_are_refused():
    network = small_network()
    one = ModelInput(None, (2,), (7, 11, 3, 4), 12)
    decoder, [sequence] = finished(network, [one], [[7, 8, 9]])
    with pytest.raises(ValueError, match="without audio"):
        align_words(network, decoder.cache, sequence, letters)

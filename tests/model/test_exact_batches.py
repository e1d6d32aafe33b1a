"""A clip in a batch gets what it gets alone: the same embeddings and the same tokens."""

from __future__ import annotations

import random

import pytest
import torch

from phi4audio_cli.model import encoder, subsampling
from phi4audio_cli.model.encoder import AudioEncoder
from phi4audio_cli.model.generate import generate
from tests.model.small import encoders, features, prompt, small_model

TOLERANCE = 1e-5
SHORTEST, LONGEST, BEYOND = 10, 4000, 9000  # feature frames of 10 ms: 0.1 s, 40 s, 90 s


@pytest.fixture(params=["without padding", "padded"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way a CPU takes, and the way a GPU takes."""
    if request.param == "padded":
        monkeypatch.setattr(AudioEncoder, "forward", AudioEncoder.encode_padded)
    return request.param


def batch_error(ours: AudioEncoder, theirs: torch.nn.Module, lengths: list[int]) -> list[float]:
    """Encode clips in one batch; return each one's relative error to transformers alone."""
    clips = [features(length, seed) for seed, length in enumerate(lengths)]
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    # Whatever lies in the padding must not matter.
    mask = torch.arange(padded.shape[1]) < torch.tensor(lengths)[:, None]
    padded[~mask] = 7.0
    with torch.no_grad():
        together = ours(padded, mask)
        alone = [theirs(clip[None], None)[0] for clip in clips]
    return [
        float((row[: len(one)] - one).norm() / one.norm())
        for row, one in zip(together, alone, strict=True)
    ]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_up_to_one_window(attention: str, layout: str):
    ours, theirs = encoders(attention)
    rng = random.Random(1)
    for _ in range(4):
        lengths = [rng.randint(SHORTEST, LONGEST) for _ in range(4)]
        assert max(batch_error(ours, theirs, lengths)) < TOLERANCE, lengths


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_folded_windows(attention: str, layout: str):
    ours, theirs = encoders(attention)
    rng = random.Random(2)
    for _ in range(3):
        lengths = [rng.randint(SHORTEST, BEYOND) for _ in range(3)]
        lengths.append(rng.randint(LONGEST + 1, BEYOND))
        assert max(batch_error(ours, theirs, lengths)) < TOLERANCE, lengths


@pytest.mark.parametrize("lengths", [[4000, 4001], [1, 8, 9], [8000, 8001, 3999], [4000, 12]])
def test_edges_of_frames_and_windows(lengths: list[int], layout: str):
    ours, theirs = encoders("sdpa")
    assert max(batch_error(ours, theirs, lengths)) < TOLERANCE


@pytest.mark.parametrize("lengths", [[700, 333], [12, 130, 500, 131, 129]])
def test_blocks_and_packs_leave_no_mark(lengths: list[int], layout: str, monkeypatch):
    """Subsampled 16 frames at a time, with several clips end to end."""
    ours, theirs = encoders("sdpa")
    channels = ours.config.nemo_conv_channels
    monkeypatch.setattr(subsampling, "CACHED_CHANNELS", 16 * channels)
    monkeypatch.setattr(subsampling, "BLOCK_FRAMES", 16 * len(lengths))
    monkeypatch.setattr(encoder, "PACK_FRAMES", 80)
    assert max(batch_error(ours, theirs, lengths)) < TOLERANCE


def test_a_cpu_does_not_pay_for_padding():
    """A long neighbour costs a short clip nothing: no frame of padding goes into a layer."""
    ours, _ = encoders("sdpa")
    seen = []
    ours.encoders[0].register_forward_pre_hook(lambda layer, given: seen.append(given[0].shape))
    lengths = [800, 80, 80, 8000, 160]
    clips = [features(length) for length in lengths]
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    with torch.no_grad():
        ours(padded, torch.arange(padded.shape[1]) < torch.tensor(lengths)[:, None])
    assert sum(rows * frames for rows, frames, _ in seen) == sum(lengths) // 8
    assert max(frames for _, frames, _ in seen) <= encoder.PACK_FRAMES


def test_transformers_own_batches_leak():
    """The reason for all this; when it fails, transformers has mended it."""
    _, theirs = encoders("sdpa")

    class WithMask(torch.nn.Module):
        def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return theirs(hidden, mask)

    errors = batch_error(WithMask(), theirs, [71, 200, 730, 1310])
    assert max(errors) > 0.01


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_same_tokens_at_any_batch_size(attention: str):
    model = small_model(attention)
    rng = random.Random(4)
    prompts = [
        prompt(rng.randint(SHORTEST, LONGEST), seed, max_new_tokens=rng.randint(1, 30))
        for seed in range(8)
    ]
    alone = [generate(model, [one], {0, 1})[0] for one in prompts]
    for size in (2, 3, 8):
        for start in range(0, len(prompts), size):
            together = generate(model, prompts[start : start + size], {0, 1})
            expected = alone[start : start + size]
            assert [row.tokens for row in together] == [row.tokens for row in expected]
            assert [row.finish for row in together] == [row.finish for row in expected]


def test_a_spent_budget_says_so_and_stop_tokens_are_left_out():
    model = small_model()
    one = prompt(300, max_new_tokens=8)
    free = generate(model, [one], set())[0]
    assert (len(free.tokens), free.finish) == (8, "length")
    stopped = generate(model, [one], {free.tokens[3]})[0]
    first = free.tokens.index(free.tokens[3])
    assert (stopped.tokens, stopped.finish) == (free.tokens[:first], "stop")

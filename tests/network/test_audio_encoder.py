"""A clip in a batch has the audio embeddings that transformers' class gives it alone."""

from __future__ import annotations

import random

import pytest
import torch

from phi4audio_cli.network import encoder, subsampling
from phi4audio_cli.network.encoder import AudioEncoder
from tests.network.networks import encoders, features

TOLERANCE = 1e-5
SHORTEST, LONGEST, BEYOND = 10, 4000, 9000  # feature frames of 10 ms: 0.1 s, 40 s, 90 s


@pytest.fixture(params=["encode_packed", "encode_padded"])
def layout(request: pytest.FixtureRequest) -> str:
    """A CPU's way, and a GPU's way."""
    return str(request.param)


def relative_errors(
    ours: AudioEncoder, reference: torch.nn.Module, lengths: list[int], layout: str
) -> list[float]:
    """Encode clips in one batch; return each one's relative error to transformers alone."""
    clips = [features(length, seed) for seed, length in enumerate(lengths)]
    with torch.no_grad():
        together = getattr(ours, layout)(clips)
        alone = [reference(clip[None], None)[0] for clip in clips]
    assert [len(row) for row in together] == [-(-length // 8) for length in lengths]
    return [
        float((row - one).norm() / one.norm()) for row, one in zip(together, alone, strict=True)
    ]


def test_clips_up_to_one_window(layout: str):
    ours, reference = encoders()
    rng = random.Random(1)
    for _ in range(4):
        lengths = [rng.randint(SHORTEST, LONGEST) for _ in range(4)]
        assert max(relative_errors(ours, reference, lengths, layout)) < TOLERANCE, lengths


def test_folded_windows(layout: str):
    ours, reference = encoders()
    rng = random.Random(2)
    for _ in range(3):
        lengths = [rng.randint(SHORTEST, BEYOND) for _ in range(3)]
        lengths.append(rng.randint(LONGEST + 1, BEYOND))
        assert max(relative_errors(ours, reference, lengths, layout)) < TOLERANCE, lengths


@pytest.mark.parametrize("lengths", [[4000, 4001], [1, 8, 9], [8000, 8001, 3999], [4000, 12]])
def test_edges_of_frames_and_windows(lengths: list[int], layout: str):
    ours, reference = encoders()
    assert max(relative_errors(ours, reference, lengths, layout)) < TOLERANCE


@pytest.mark.parametrize("lengths", [[700, 333], [12, 130, 500, 131, 129]])
def test_blocks_and_packs_do_not_change_embeddings(lengths: list[int], layout: str, monkeypatch):
    """Subsampled 16 frames at a time, with several clips end to end."""
    ours, reference = encoders()
    monkeypatch.setattr(subsampling, "CACHED_CHANNELS", 16 * ours.embed.channels)
    monkeypatch.setattr(subsampling, "BLOCK_FRAMES", 16 * len(lengths))
    monkeypatch.setattr(encoder, "PACK_FRAMES", 80)
    assert max(relative_errors(ours, reference, lengths, layout)) < TOLERANCE


def test_a_cpu_pads_no_clip_to_its_neighbours():
    """A long neighbour costs a short clip nothing: a pass is filled up by a few frames at most."""
    ours, _ = encoders()
    seen = []
    ours.encoders[0].register_forward_pre_hook(lambda layer, given: seen.append(given[0].shape))
    lengths = [800, 80, 80, 8000, 160]
    with torch.no_grad():
        ours([features(length) for length in lengths])
    filling = sum(rows * frames for rows, frames, _ in seen) - sum(lengths) // 8
    assert 0 <= filling < 32 * len(seen)
    assert max(frames for _, frames, _ in seen) < encoder.PACK_FRAMES + 32


def test_no_clips_give_no_embeddings():
    ours, _ = encoders()
    assert ours([]) == []


def test_batches_of_transformers_leak_padding():
    """The reason for all this; when it fails, transformers has mended it."""
    _, reference = encoders()
    lengths = [71, 200, 730, 1310]
    clips = [features(length, seed) for seed, length in enumerate(lengths)]
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    mask = torch.arange(padded.shape[1]) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        together, alone = reference(padded, mask)[0, :9], reference(clips[0][None], None)[0]
    assert (together - alone).norm() > 0.01 * alone.norm()

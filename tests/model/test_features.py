"""Features at both rates, and the settings they are read from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.model import features
from phi4audio_cli.model.features import embedding_count, load_extractor, log_mel

BIN_OF_4_KHZ = 128


def noise(seconds: float, rate: int) -> np.ndarray:
    samples = np.random.default_rng(1).standard_normal(int(seconds * rate))
    return (0.1 * samples).astype(np.float32)


def test_one_frame_every_10_ms(tmp_path: Path):
    extractor = load_extractor(tmp_path)
    for rate in (16_000, 8_000):
        assert log_mel(noise(1.0, rate), rate, extractor).shape == (98, 80)
        assert len(log_mel(noise(0.025, rate), rate, extractor)) == 1


@pytest.mark.parametrize("rate", [16_000, 8_000])
@pytest.mark.parametrize("extra", [0, 1, 79, 80, 159, 160])
def test_long_audio_in_pieces_has_the_frames_of_the_whole(
    rate: int, extra: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    extractor = load_extractor(tmp_path)
    samples = np.concatenate([noise(3.0, rate), noise(1.0, rate)[:extra]])
    whole = log_mel(samples, rate, extractor)
    for frames in (1, 7, 99, 298):
        monkeypatch.setattr(features, "FRAMES_AT_ONCE", frames)
        torch.testing.assert_close(log_mel(samples, rate, extractor), whole, rtol=1e-6, atol=1e-6)


def test_telephone_audio_is_silent_above_4_khz(tmp_path: Path):
    extractor = load_extractor(tmp_path)
    narrow = log_mel(noise(1.0, 8_000), 8_000, extractor)
    above = torch.from_numpy(extractor.mel_filters[:BIN_OF_4_KHZ].sum(axis=0) == 0)
    assert 10 < int(above.sum()) < 40
    assert torch.count_nonzero(narrow[:, above]) == 0
    assert torch.count_nonzero(narrow[:, ~above]) == narrow[:, ~above].numel()


@pytest.mark.parametrize(("length", "rate"), [(399, 16_000), (199, 8_000), (16_000, 44_100)])
def test_what_gives_no_frame_is_refused(length: int, rate: int, tmp_path: Path):
    with pytest.raises(ValueError, match=str(rate)):
        log_mel(np.zeros(length, np.float32), rate, load_extractor(tmp_path))


@pytest.mark.parametrize(("frames", "embeddings"), [(1, 1), (8, 1), (9, 2), (4000, 500)])
def test_embedding_count(frames: int, embeddings: int):
    assert embedding_count(frames) == embeddings


def test_another_front_end_is_refused(tmp_path: Path):
    settings = {"feature_extractor_type": "Phi4MultimodalFeatureExtractor", "sampling_rate": 24000}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="sampling_rate is 24000"):
        load_extractor(tmp_path)

"""Features at both rates, and the settings they are read from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Phi4MultimodalFeatureExtractor

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.errors import CheckpointError
from phi4audio_cli.model import features
from phi4audio_cli.model.features import (
    FeatureConfig,
    FeatureExtractor,
    embedding_count,
    load_feature_config,
    log_mel,
    mel_filters,
)

BIN_OF_4_KHZ = 128
EDGE_BIN = 246
"""Nearest to the upper edge of the filters: the original leaves it out."""
CONFIG = FeatureConfig()


def library_extractor() -> Phi4MultimodalFeatureExtractor:
    """Return transformers' extractor without the bin that the original leaves out."""
    extractor = Phi4MultimodalFeatureExtractor()
    extractor.mel_filters[EDGE_BIN:] = 0
    return extractor


def test_filters_are_those_of_transformers_to_the_bit():
    assert np.array_equal(mel_filters(CONFIG), Phi4MultimodalFeatureExtractor().mel_filters)


def noise(seconds: float, rate: int) -> np.ndarray:
    samples = np.random.default_rng(1).standard_normal(int(seconds * rate))
    return (0.1 * samples).astype(np.float32)


def test_one_frame_every_10_ms():
    for rate in (16_000, 8_000):
        assert log_mel(noise(1.0, rate), rate, CONFIG).shape == (98, 80)
        assert len(log_mel(noise(0.025, rate), rate, CONFIG)) == 1


@pytest.mark.parametrize("rate", [16_000, 8_000])
@pytest.mark.parametrize("extra", [0, 1, 79, 80, 159, 160])
def test_long_audio_in_pieces_has_the_frames_of_the_whole(
    rate: int, extra: int, monkeypatch: pytest.MonkeyPatch
):
    samples = np.concatenate([noise(3.0, rate), noise(1.0, rate)[:extra]])
    whole = log_mel(samples, rate, CONFIG)
    for frames in (1, 7, 99, 298):
        monkeypatch.setattr(features, "FRAMES_AT_ONCE", frames)
        torch.testing.assert_close(log_mel(samples, rate, CONFIG), whole, rtol=1e-6, atol=1e-6)


def weak_beside_strong(seconds: float) -> np.ndarray:
    """A loud low tone over faint noise: where float32 spectra would be wrong."""
    times = np.arange(int(16_000 * seconds)) / 16_000
    return (0.9 * np.sin(2 * np.pi * 150 * times) + 1e-4 * noise(seconds, 16_000)).astype("f4")


@pytest.mark.parametrize(
    "samples",
    [noise(0.025, 16_000), noise(7.3, 16_000), np.zeros(5000, "f4"), weak_beside_strong(3.0)],
    ids=["one frame", "noise", "silence", "weak next to strong"],
)
def test_wide_band_features_are_the_library_s(samples: np.ndarray):
    wanted = library_extractor()(samples, sampling_rate=16_000, return_tensors="pt")
    found = log_mel(samples, 16_000, CONFIG)
    torch.testing.assert_close(found, wanted["audio_input_features"][0], rtol=0, atol=1e-5)


def test_speech_has_the_library_s_features(recordings: Path):
    with open_audio(recordings / "jfk.flac") as recording:
        samples = np.concatenate(list(recording.blocks()))
    wanted = library_extractor()(samples, sampling_rate=16_000, return_tensors="pt")
    found = log_mel(samples, 16_000, CONFIG)
    torch.testing.assert_close(found, wanted["audio_input_features"][0], rtol=0, atol=1e-4)


def narrow_band(samples: np.ndarray) -> np.ndarray:
    """The original's telephone features, frame by frame; float64 from the spectrum on."""
    window, features = np.hamming(200), []
    for start in range(0, len(samples) - 199, 80):
        frame = samples[start : start + 200]
        frame = (frame - np.float32(CONFIG.preemphasis) * np.r_[frame[0], frame[:-1]]) * 32768
        power = np.zeros(257)
        power[:128] = np.abs(np.fft.rfft(window * frame, 256)[:-1]) ** 2
        features.append(np.log(np.maximum(power @ library_extractor().mel_filters, 1)))
    return np.array(features)


def test_narrow_band_features_are_the_original_s():
    samples = noise(2.0, 8_000)
    found = log_mel(samples, 8_000, CONFIG).numpy()
    np.testing.assert_allclose(found, narrow_band(samples), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rate", [16_000, 8_000])
def test_all_is_computed_on_the_device(rate: int):
    # "meta" computes shapes only, and refuses tensors of the processor.
    found = log_mel(noise(70.0, rate), rate, CONFIG, "meta")
    assert (found.device.type, found.shape) == ("meta", (6998, 80))


def test_a_full_device_leaves_it_to_the_processor(monkeypatch):
    listen = FeatureExtractor(CONFIG, torch.device("cpu"))

    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(listen, "_stream", object())
    monkeypatch.setattr(listen, "_on_device", full)
    samples = noise(1.0, 16_000)
    assert torch.equal(listen(samples, 16_000), log_mel(samples, 16_000, CONFIG))


def test_telephone_audio_is_silent_above_4_khz():
    narrow = log_mel(noise(1.0, 8_000), 8_000, CONFIG)
    above = torch.from_numpy(library_extractor().mel_filters[:BIN_OF_4_KHZ].sum(axis=0) == 0)
    assert 10 < int(above.sum()) < 40
    assert torch.count_nonzero(narrow[:, above]) == 0
    assert torch.count_nonzero(narrow[:, ~above]) == narrow[:, ~above].numel()


@pytest.mark.parametrize(("length", "rate"), [(399, 16_000), (199, 8_000), (16_000, 44_100)])
def test_what_gives_no_frame_is_refused(length: int, rate: int):
    with pytest.raises(ValueError, match=str(rate)):
        log_mel(np.zeros(length, np.float32), rate, CONFIG)


@pytest.mark.parametrize(("frames", "embeddings"), [(1, 1), (8, 1), (9, 2), (4000, 500)])
def test_embedding_count(frames: int, embeddings: int):
    assert embedding_count(frames) == embeddings


def test_another_front_end_is_refused(tmp_path: Path):
    settings = {"feature_extractor_type": "Phi4MultimodalFeatureExtractor", "sampling_rate": 24000}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="sampling_rate is 24000"):
        load_feature_config(tmp_path)


def test_numbers_of_the_native_layout_count_and_those_of_the_original_do_not(tmp_path: Path):
    path = tmp_path / "preprocessor_config.json"
    numbers = {"preemphasis": 0.9, "mel_max_frequency": 7000}
    path.write_text(json.dumps(numbers))
    assert load_feature_config(tmp_path) == CONFIG
    kind = {"feature_extractor_type": "Phi4MultimodalFeatureExtractor"}
    path.write_text(json.dumps({**kind, **numbers}))
    assert load_feature_config(tmp_path) == FeatureConfig(preemphasis=0.9, mel_max_frequency=7000)
    path.write_text("{")
    with pytest.raises(CheckpointError, match="can't be read"):
        load_feature_config(tmp_path)

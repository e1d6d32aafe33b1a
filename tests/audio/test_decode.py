"""Decoding gives the original audio for every container and codec."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.errors import AudioError

from .audio_files import Array, decode, encode, sine

SHARED = Path(__file__).parents[3] / "shared" / "audio"


def similarity(decoded: Array, expected: Array, slack: int = 3000) -> float:
    """Return the best correlation over shifts: codecs delay."""
    length = min(len(decoded), len(expected)) - slack
    inner = expected[slack // 2 : slack // 2 + length]
    scores = np.correlate(decoded[: length + slack], inner, mode="valid")
    best = int(np.argmax(scores))
    found = decoded[best : best + length]
    return float(inner @ found / np.linalg.norm(inner) / np.linalg.norm(found))


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 1 / 120),
        ("wav", "PCM_16", 1e-4),
        ("wav", "PCM_24", 1e-6),
        ("wav", "PCM_32", 1e-6),
        ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 0),
        ("flac", "PCM_16", 1e-4),
        ("aiff", "PCM_16", 1e-4),
        ("caf", "PCM_16", 1e-4),
        ("au", "PCM_16", 1e-4),
    ],
)
def test_lossless_formats_give_the_samples(
    tmp_path: Path, kind: str, subtype: str, tolerance: float
) -> None:
    expected = sine(16000)
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, expected, 16000, subtype=subtype)
    rate, decoded = decode(path)
    assert rate == 16000
    np.testing.assert_allclose(decoded, expected, atol=tolerance)


@pytest.mark.parametrize(("name", "tolerance"), [("a.mp3", 1e-4), ("a.ogg", 1e-4), ("a.flac", 0)])
def test_decoding_in_blocks_equals_decoding_at_once(
    tmp_path: Path, name: str, tolerance: float
) -> None:
    soundfile.write(tmp_path / name, sine(16000, 25) + sine(16000, 25, 700), 16000)
    _, decoded = decode(tmp_path / name)
    expected, _ = soundfile.read(tmp_path / name, dtype="float32")
    np.testing.assert_allclose(decoded, expected, atol=tolerance)
    np.testing.assert_array_equal(decoded, decode(tmp_path / name)[1])


@pytest.mark.parametrize(("kind", "subtype"), [("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", None)])
def test_lossy_formats_are_similar(tmp_path: Path, kind: str, subtype: str | None) -> None:
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, sine(48000, hertz=300), 48000, subtype=subtype)
    rate, decoded = decode(path)
    assert rate == 16000
    assert abs(len(decoded) - 32000) < 1600
    assert similarity(decoded, sine(16000, hertz=300)) > 0.99


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.mkv", "pcm_s16le"), ("a.webm", "libopus")],
)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_other_containers_are_similar(tmp_path: Path, name: str, codec: str, layout: str) -> None:
    wave = sine(48000, hertz=300)
    encode(tmp_path / name, codec, np.stack([wave] * (1 + (layout == "stereo"))), 48000, layout)
    rate, decoded = decode(tmp_path / name)
    assert rate == 16000
    assert abs(len(decoded) - 32000) < 1600
    assert similarity(decoded, sine(16000, hertz=300)) > 0.99


@pytest.mark.parametrize(
    ("codec", "tolerance"),
    [("pcm_u8", 1 / 100), ("pcm_s16le", 1e-3), ("pcm_s32le", 1e-3), ("pcm_f32le", 1e-6),
     ("pcm_f64le", 1e-6), ("pcm_s24le", 1e-3)],
)  # fmt: skip
def test_every_sample_format_of_ffmpeg_is_scaled_correctly(
    tmp_path: Path, codec: str, tolerance: float
) -> None:
    path = tmp_path / "a.mkv"
    left, right = sine(16000), sine(16000, hertz=1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16000, layout="stereo")
        resampler = av.AudioResampler(format=stream.format.name, layout="stereo", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.stack([left, right]), format="fltp", layout="stereo")
        frame.sample_rate = 16000
        for converted in resampler.resample(frame):
            for packet in (*stream.encode(converted), *stream.encode(None)):
                container.mux(packet)
    _, decoded = decode(path)
    np.testing.assert_allclose(decoded, (left + right) / 2, atol=tolerance)


@pytest.mark.parametrize("rate", [11025, 22050, 44100, 48000, 96000])
def test_resampling_in_blocks_equals_resampling_at_once(tmp_path: Path, rate: int) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, (23 * rate + 7, 2)).astype("f4")
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    found, decoded = decode(tmp_path / "a.wav")
    assert found == 16000
    expected = soxr.resample(wave.mean(axis=1), rate, 16000, quality="VHQ")
    np.testing.assert_array_equal(decoded, expected)
    assert abs(len(decoded) - len(wave) * 16000 / rate) < 1


def test_telephone_audio_keeps_its_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(8000), 8000, subtype="FLOAT")
    rate, decoded = decode(tmp_path / "a.wav")
    assert rate == 8000
    np.testing.assert_array_equal(decoded, sine(8000))


def test_samples_that_are_not_finite_become_silence(tmp_path: Path) -> None:
    wave = sine(16000).astype("f8")
    wave[100:104] = np.nan, np.inf, -np.inf, 1e300
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="DOUBLE")
    _, decoded = decode(tmp_path / "a.wav")
    assert not decoded[100:104].any()
    np.testing.assert_array_equal(decoded[104:], wave[104:].astype("f4"))


def test_the_length_by_the_header_is_reported(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", sine(44100, 3), 44100)
    encode(tmp_path / "a.m4a", "aac", sine(44100, 3)[None], 44100, "mono")
    for name in ("a.flac", "a.m4a"):
        with open_audio(tmp_path / name) as recording:
            assert recording.info.seconds == pytest.approx(3, abs=0.1)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
        for _ in range(20):
            file.write(np.zeros(16000 * 60, np.int16))
    with open_audio(path) as recording:
        tracemalloc.start()
        longest = max(len(block) for block in recording.blocks())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert longest <= 16000 * 11
    assert peak < 4e6  # the whole recording is 77 MB as float32


@pytest.mark.parametrize(("rate", "enough"), [(16000, 400), (8000, 200)])
def test_the_shortest_recording(tmp_path: Path, rate: int, enough: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(enough, "f4"), rate)
    assert len(decode(tmp_path / "a.wav")[1]) == enough
    soundfile.write(tmp_path / "b.wav", np.zeros(enough - 1, "f4"), rate)
    with open_audio(tmp_path / "b.wav") as recording, pytest.raises(AudioError, match="too short"):
        list(recording.blocks())


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("jfk.flac", 11), ("multilingual.mp3", 59.9), ("stereo_diarization.wav", 5)],
)
def test_real_recordings(name: str, seconds: float) -> None:
    if not (SHARED / name).exists():
        pytest.skip("needs the shared recordings, which are not part of the repository")
    rate, decoded = decode(SHARED / name)
    assert rate == 16000
    assert len(decoded) / rate == pytest.approx(seconds, abs=0.1)
    assert 0.01 < np.sqrt(np.mean(decoded**2)) < 0.5

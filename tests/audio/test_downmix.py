"""The downmix keeps speech: by the channel layout, without cancellation, and without clipping."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from phi4audio_cli.audio.audio_source import Frames
from phi4audio_cli.audio.downmix import Downmixer, channel_gains

from .audio_files import Array, decode, encode, noise, sine

SPEECH, RAIN = sine(48000, 3.0), noise(3, 48000)

LAYOUTS = {
    "3.0": ("FL", "FR", "FC"),
    "4.0": ("FL", "FR", "FC", "BC"),
    "5.0(side)": ("FL", "FR", "FC", "SL", "SR"),
    "5.1": ("FL", "FR", "FC", "LFE", "BL", "BR"),
    "5.1(side)": ("FL", "FR", "FC", "LFE", "SL", "SR"),
    "7.1": ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}


def level(samples: Array, wave: Array, rate: int = 16000) -> float:
    """Return the amplitude of a wave in samples, relative to its own."""
    inner = wave[: len(samples)]
    return float(samples[: len(inner)] @ inner / (inner @ inner))


def mixed(layout: str, **channels: Array) -> Array:
    """Return the downmix of channels, in blocks as decoders yield them."""
    frames, downmixer = surround(layout, **channels).T, Downmixer()
    blocks = (
        Frames(48000, frames[at : at + 48000], LAYOUTS[layout])
        for at in range(0, len(frames), 48000)
    )
    return np.concatenate([downmixer.mix(block) for block in blocks])


def surround(layout: str, **channels: Array) -> Array:
    """Return frames of a layout, shape (channels, length)."""
    return np.stack([channels.get(name, 0 * SPEECH) for name in LAYOUTS[layout]])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_centre_counts_most_and_the_low_frequency_channel_is_left_out(layout: str) -> None:
    samples = mixed(layout, FC=SPEECH, LFE=10 * RAIN)
    np.testing.assert_allclose(samples, 0.5**0.5 * SPEECH, atol=1e-6)
    rain = {name: RAIN for name in LAYOUTS[layout] if name[0] in "BS"}
    with_rain = mixed(layout, FC=SPEECH, **rain)
    assert level(with_rain, SPEECH) == pytest.approx(0.5**0.5, abs=0.02)
    assert level(with_rain, RAIN) <= len(rain) * 0.5**1.5 + 0.02


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [("a.mp4", "aac", "5.1"), ("a.mkv", "aac", "5.1"), ("a.mkv", "ac3", "5.1(side)"),
     ("a.ts", "ac3", "5.1(side)"), ("a.ogg", "libopus", "5.1")],
)  # fmt: skip
def test_films_are_mixed_by_their_layout(tmp_path: Path, name, codec, layout) -> None:
    rumble = 0.9 * sine(48000, 3.0, 40) / 0.4
    encode(tmp_path / name, codec, surround(layout, FC=SPEECH, LFE=rumble), 48000, layout)
    _, samples = decode(tmp_path / name)
    speech = np.sqrt(np.mean(np.square(samples[8000:40000])))
    assert speech == pytest.approx(0.4 * 0.5**0.5 * 0.5**0.5, rel=0.05)


def wave_with_mask(path: Path, frames: Array, mask: int) -> Path:
    """Write an extensible WAV with a channel mask, frames of shape (length, channels)."""
    soundfile.write(path, frames, 48000, format="WAVEX", subtype="FLOAT")
    data = bytearray(path.read_bytes())
    place = data.index(b"fmt ") + 8 + 20
    data[place : place + 4] = struct.pack("<I", mask)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("mask", [0x3F, 0x60F])
def test_a_wav_is_mixed_by_its_channel_mask(tmp_path: Path, mask: int) -> None:
    frames = surround("5.1", FC=SPEECH, LFE=10 * RAIN).T
    _, samples = decode(wave_with_mask(tmp_path / "a.wav", frames, mask))
    np.testing.assert_allclose(samples, 0.5**0.5 * sine(16000, 3.0), atol=0.01)


def test_a_flac_of_six_channels_is_5_1(tmp_path: Path) -> None:
    frames = surround("5.1", FC=SPEECH, LFE=0.5 * np.sign(SPEECH)).T
    soundfile.write(tmp_path / "a.flac", frames, 48000)
    _, samples = decode(tmp_path / "a.flac")
    np.testing.assert_allclose(samples, 0.5**0.5 * sine(16000, 3.0), atol=0.01)


def test_channels_without_a_layout_count_the_same(tmp_path: Path) -> None:
    """Microphones of a field recorder, for example."""
    frames = np.stack([SPEECH, 0 * SPEECH, 0 * SPEECH, 0 * SPEECH], axis=1)
    soundfile.write(tmp_path / "a.wav", frames, 48000, subtype="FLOAT")
    _, samples = decode(tmp_path / "a.wav")
    assert level(samples, sine(16000, 3.0)) == pytest.approx(0.25, abs=0.01)
    assert channel_gains((), 4) == [0.25] * 4


@pytest.mark.parametrize("kind", ["flac", "mkv"])
@pytest.mark.parametrize("gain", [-1.0, -0.9, -0.6])
def test_opposed_phases_do_not_cancel_out(tmp_path: Path, kind: str, gain: float) -> None:
    path = tmp_path / f"a.{kind}"
    waves = np.stack([SPEECH, gain * SPEECH])
    if kind == "flac":
        soundfile.write(path, waves.T, 48000)
    else:
        encode(path, "pcm_f32le", waves, 48000, "stereo")
    _, samples = decode(path)
    assert abs(level(samples, sine(16000, 3.0))) == pytest.approx((1 - gain) / 2, abs=0.01)


def test_opposed_phases_of_the_front_channels_do_not_cancel_out() -> None:
    assert level(mixed("5.1", FL=SPEECH, FR=-SPEECH), SPEECH) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("block", [1600, 16000, 44100])
def test_phases_may_change_within_a_recording(block: int) -> None:
    downmixer, rate = Downmixer(), 16000
    wave = sine(rate, 2.0)
    both = np.stack([np.concatenate([wave] * 3), np.concatenate([wave, -wave, wave])], axis=1)
    blocks = (both[at : at + block] for at in range(0, len(both), block))
    samples = np.concatenate([downmixer.mix(Frames(rate, each)) for each in blocks])
    loud = np.abs(samples.reshape(-1, 1600)).mean(axis=1) > 0.9 * np.abs(wave).mean()
    assert loud.mean() > 0.97


def test_six_channels_of_a_file_without_a_layout_may_be_5_1(tmp_path: Path) -> None:
    rumble = sine(48000, 3.0, 40)
    frames = surround("5.1", FC=SPEECH, LFE=rumble, BL=RAIN, BR=RAIN).T
    soundfile.write(tmp_path / "a.wav", frames, 48000, subtype="FLOAT")
    _, samples = decode(tmp_path / "a.wav")
    assert level(samples, sine(16000, 3.0)) == pytest.approx(0.5**0.5, abs=0.02)
    assert level(samples, sine(16000, 3.0, 40)) == pytest.approx(0, abs=0.02)


def test_six_microphones_all_count(tmp_path: Path) -> None:
    frames = np.stack([0.1 * RAIN] * 3 + [SPEECH] + [0.1 * RAIN] * 2, axis=1)
    soundfile.write(tmp_path / "a.wav", frames, 48000, subtype="FLOAT")
    _, samples = decode(tmp_path / "a.wav")
    assert level(samples, sine(16000, 3.0)) == pytest.approx(1 / 6, abs=0.02)


def test_two_speakers_and_plain_stereo_stay_the_average() -> None:
    speakers = np.stack([sine(16000), sine(16000, hertz=1000)], axis=1)
    for frames in (speakers, np.stack([noise(2), noise(2)], axis=1)):
        average = Downmixer().mix(Frames(16000, frames, ("FL", "FR")))
        np.testing.assert_array_equal(average, frames.sum(axis=1) / 2)


def test_loud_channels_are_not_clipped() -> None:
    loud = SPEECH / np.abs(SPEECH).max()
    samples = mixed("5.1", **dict.fromkeys(("FL", "FR", "FC", "BL", "BR"), loud))
    np.testing.assert_allclose(samples, (1 + 0.5**0.5 + 2 * 0.5**1.5) * loud, rtol=1e-5, atol=1e-6)

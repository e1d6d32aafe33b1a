"""Files are decoded to their last byte: joined files, chained streams, estimated lengths."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from phi4audio_cli.audio.decode import open_audio

from .audio_files import decode_damaged, encode
from .media_files import bursts, decoded_bursts, mux, same_time

FIRST, SECOND = [0.5, 2.0], [0.3, 1.0, 2.5]


def part(times: list[float], rate: int, channels: int = 1) -> np.ndarray:
    """Return 3 s of audio with tones, shape (length, channels)."""
    return np.stack([bursts(times, 3, rate)] * channels, axis=1)


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(each.read_bytes() for each in parts))
    return path


def write(path: Path, wave: np.ndarray, rate: int) -> Path:
    """Write a file of the kind of its name, with encoder delay stored where the format can."""
    codecs = {".opus": "libopus", ".m4a": "aac", ".mka": "flac", ".webm": "libopus"}
    if path.suffix in codecs:
        return mux(path, codecs[path.suffix], [(wave[:, 0], same_time)], video_from=None)
    soundfile.write(path, wave, rate)
    return path


@pytest.mark.parametrize(
    ("kind", "rates", "channels"),
    [
        ("mp3", (44100, 44100), (1, 1)),
        ("mp3", (22050, 44100), (1, 1)),
        ("mp3", (44100, 44100), (1, 2)),
        ("ogg", (44100, 44100), (1, 1)),
        ("ogg", (44100, 48000), (2, 1)),
        ("opus", (48000, 48000), (1, 1)),
        ("wav", (16000, 16000), (1, 1)),
        ("wav", (44100, 48000), (2, 1)),
        ("aiff", (16000, 22050), (1, 1)),
        ("w64", (16000, 16000), (1, 2)),
        ("rf64", (16000, 16000), (1, 1)),
        ("flac", (16000, 16000), (1, 1)),
        ("flac", (44100, 48000), (2, 1)),
        ("m4a", (48000, 48000), (1, 1)),
        ("mka", (48000, 48000), (1, 1)),
    ],
)
def test_all_parts_of_a_joined_file_are_decoded(tmp_path: Path, kind, rates, channels) -> None:
    first = write(tmp_path / f"1.{kind}", part(FIRST, rates[0], channels[0]), rates[0])
    second = write(tmp_path / f"2.{kind}", part(SECOND, rates[1], channels[1]), rates[1])
    times, damage = decoded_bursts(joined(tmp_path / f"both.{kind}", first, second))
    # An MP3's padding, and the frame with its number of frames, may be part of the audio.
    slack = 0.1 if kind == "mp3" else 0.03
    assert times == pytest.approx([*FIRST, *(time + 3 for time in SECOND)], abs=slack)
    assert damage is None


def test_tags_between_joined_mp3_files_are_no_damage(tmp_path: Path) -> None:
    for number, times in enumerate((FIRST, SECOND)):
        with av.open(str(tmp_path / f"{number}.mp3"), "w") as container:
            container.metadata["title"] = "x" * 3000
            stream = container.add_stream("libmp3lame", rate=44100, layout="mono")
            frame = av.AudioFrame.from_ndarray(part(times, 44100).T.copy(), "fltp", "mono")
            frame.sample_rate = 44100
            container.mux([*stream.encode(frame), *stream.encode(None)])
    id3v1 = tmp_path / "tag"
    id3v1.write_bytes(b"TAG" + bytes(125))
    path = joined(tmp_path / "a.mp3", tmp_path / "0.mp3", id3v1, tmp_path / "1.mp3")
    times, damage = decoded_bursts(path)
    assert len(times) == len(FIRST) + len(SECOND)
    assert damage is None


def test_many_chained_streams(tmp_path: Path) -> None:
    """Internet radio begins a stream with each title."""
    one = write(tmp_path / "1.ogg", part([0.5], 44100), 44100)
    times, damage = decoded_bursts(joined(tmp_path / "a.ogg", *[one] * 20))
    assert times == pytest.approx([0.5 + 3 * number for number in range(20)], abs=0.005)
    assert damage is None


def test_a_part_that_cannot_be_decoded_is_reported(tmp_path: Path) -> None:
    one = write(tmp_path / "1.wav", part(FIRST, 16000), 16000)
    broken = tmp_path / "2.wav"
    broken.write_bytes(b"RIFF\x0c\x00\x00\x00WAVEfmt \x00\x00\x00\x00")
    times, damage = decoded_bursts(joined(tmp_path / "a.wav", one, broken, one))
    assert times == pytest.approx([*FIRST, *(time + 3 for time in FIRST)], abs=0.001)
    assert damage
    assert "a part of the file cannot be decoded" in damage


def mp3(path: Path, wave: np.ndarray, *, quality: float | None = None, xing: bool = True) -> Path:
    """Write an MP3 of variable bit rate where a quality is given."""
    with av.open(str(path), "w", options={"write_xing": str(int(xing))}) as container:
        stream = container.add_stream("libmp3lame", rate=44100, layout="mono")
        if quality is not None:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = int(118 * quality)
        for start in range(0, len(wave), 44100):
            samples = np.ascontiguousarray(wave[None, start : start + 44100])
            frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def growing(seconds: int) -> np.ndarray:
    """Return silence, then noise: the bit rate of its beginning is far below its average."""
    wave = np.random.default_rng(0).normal(0, 0.2, seconds * 44100).astype("f4")
    wave[: len(wave) // 3] = 0
    return wave


@pytest.mark.parametrize("wave", [growing(20), growing(20)[::-1].copy()], ids=["quiet", "loud"])
def test_a_vbr_mp3_without_xing_header_is_decoded_to_its_end(tmp_path: Path, wave) -> None:
    path = mp3(tmp_path / "a.mp3", wave, quality=9, xing=False)
    assert b"Xing" not in path.read_bytes()
    samples, damage = decode_damaged(path)
    assert len(samples) == pytest.approx(20 * 16000, abs=1600)
    assert damage is None
    with open_audio(path) as recording:
        assert recording.info.seconds is None, "an estimate by the bit rate is not a length"


@pytest.mark.parametrize("wave", [growing(20), growing(20)[::-1].copy()], ids=["quiet", "loud"])
def test_a_whole_vbr_aac_stream_is_not_called_truncated(tmp_path: Path, wave) -> None:
    encode(tmp_path / "a.aac", "aac", wave[None], 44100, "mono")
    samples, damage = decode_damaged(tmp_path / "a.aac")
    assert len(samples) == pytest.approx(20 * 16000, abs=1600)
    assert damage is None


@pytest.mark.parametrize("quality", [None, 5.0])
def test_a_truncated_mp3_with_xing_header_is_reported(tmp_path: Path, quality) -> None:
    path = mp3(tmp_path / "a.mp3", np.abs(growing(20)), quality=quality)
    assert decode_damaged(path)[1] is None
    with open_audio(path) as recording:
        assert recording.info.seconds == pytest.approx(20, abs=0.1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    damage = decode_damaged(path)[1]
    assert damage
    assert damage.endswith("s of 20.0 s")


def test_a_truncated_mp4_fragment_is_reported(tmp_path: Path) -> None:
    wave = bursts(FIRST, 10)
    options = {"movflags": "frag_keyframe+empty_moov+delay_moov", "frag_duration": "1000000"}
    path = mux(tmp_path / "a.mp4", "aac", [(wave, same_time)], video_from=None, options=options)
    whole = path.read_bytes()
    assert decode_damaged(path)[1] is None
    path.write_bytes(whole[: len(whole) // 2])
    samples, damage = decode_damaged(path)
    assert len(samples) > 16000
    assert damage
    assert "cut off within an MP4 fragment" in damage


def test_a_truncated_video_is_reported(tmp_path: Path) -> None:
    path = mux(tmp_path / "a.mkv", "flac", [(bursts(FIRST, 10), same_time)])
    assert decode_damaged(path)[1] is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    damage = decode_damaged(path)[1]
    assert damage
    assert "s of 10.0 s" in damage


def test_a_live_recording_declares_no_length(tmp_path: Path) -> None:
    """Browsers write WebM with unknown sizes and lengths."""
    path = mux(
        tmp_path / "a.mkv", "pcm_s16le", [(bursts(FIRST, 10), same_time)], video_from=None,
        options={"live": "1"},
    )  # fmt: skip
    times, damage = decoded_bursts(path)
    assert times == pytest.approx(FIRST, abs=0.002)
    assert damage is None
    with open_audio(path) as recording:
        assert recording.info.seconds is None

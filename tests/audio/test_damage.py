"""Damaged and unusual recordings: decodable audio is delivered, damage is reported."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.errors import AudioError

from .audio_files import Array, decode, decode_damaged, encode, noise, sine


def no_audio_stream() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux(video.encode(picture))
        container.mux(video.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"Dear Sir, this is a letter.\n" * 50, "no audio"),
        (np.random.default_rng(1).bytes(20_000), "no audio"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "no audio"),
        (b"1\n00:00:00,000 --> 00:00:01,000\nHello\n\n", "no audio stream"),
        (no_audio_stream(), "no audio stream"),
    ],
)
def test_files_without_audio_are_reported(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=problem) as caught, open_audio(path):
        pass
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_a_playlist_reads_no_other_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.wav", sine(16000), 16000)
    (tmp_path / "a.wav").write_text("ffconcat version 1.0\nfile secret.wav\n")
    with pytest.raises(AudioError), open_audio(tmp_path / "a.wav"):
        pass


def test_folders_pipes_and_missing_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "x.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    expected = {"x.wav": "folder", "pipe.wav": "regular", "gone.wav": "No such file"}
    for name, problem in expected.items():
        with pytest.raises(AudioError, match=problem), open_audio(tmp_path / name):
            pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16000), 16000)
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(AudioError, match="Permission"), open_audio(tmp_path / "a.wav"):
        pass


def write(path: Path, wave: Array) -> None:
    """Write 16 kHz mono in the format of the file's name."""
    if path.suffix == ".mkv":
        encode(path, "pcm_f32le", wave[None], 16000, "mono")
    elif path.suffix == ".m4a":
        encode(path, "aac", wave[None], 16000, "mono", {"movflags": "faststart"})
    else:
        soundfile.write(path, wave, 16000)


@pytest.mark.parametrize(
    "kind",
    ["wav", "w64", "rf64", "aiff", "au", "caf", "nist", "svx", "flac", "mp3", "mkv", "m4a"],
)
def test_a_truncated_file_is_decoded_and_reported(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    write(path, noise(10))
    assert decode_damaged(path)[1] is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    decoded, damage = decode_damaged(path)
    assert 16000 * 3 < len(decoded) < 16000 * 6
    assert damage


@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg", "mkv", "m4a"])
def test_a_damaged_middle_loses_little_more_than_itself(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    write(path, noise(10))
    data = bytearray(path.read_bytes())
    middle = 2 * len(data) // 3
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    decoded, damage = decode_damaged(path)
    assert len(decoded) > 16000 * 8
    assert damage or kind == "mkv"  # samples that are zero are no damage


def test_audio_after_damage_is_intact(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    wave = noise(10)
    soundfile.write(path, wave, 16000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    decoded, damage = decode_damaged(path)
    wrong = np.flatnonzero(np.abs(decoded - wave) > 1e-4)
    assert len(decoded) == len(wave)
    assert 16000 * 4 < wrong[0] < wrong[-1] < 16000 * 6
    assert wrong[-1] - wrong[0] < 16000
    assert damage
    assert damage.endswith("10.0 s could be decoded")


def wav_with(sizes: int, wave: Array) -> bytes:
    """Return a WAV whose header declares `sizes` bytes of samples."""
    file = io.BytesIO()
    soundfile.write(file, wave, 16000, format="WAV", subtype="PCM_16")
    data = bytearray(file.getvalue())
    for place in (4, 40):
        data[place : place + 4] = struct.pack("<I", sizes)
    return bytes(data)


@pytest.mark.parametrize(
    ("size", "seconds", "damage"),
    [
        (0, 3, None),  # an interrupted recorder never wrote it
        (0xFFFFFFFF, 3, None),  # a pipe
        (0x7FFFFFFF, 3, None),
        (6 * 32000, 3, "ends after 3.0 s of 6.0 s"),
        (0x7FFFF000, 3, None),  # SoX
        (0x80000000, 3, None),
        (3_000_000_000, 3, "ends after 3.0 s of 93750.0 s"),
        (0xFFFEFFFF, 3, "ends after 3.0 s of 134215.7 s"),
        (1 * 32000, 3, "the header declares 1.0 s, but 3.0 s were decoded"),
    ],
)
def test_a_wrong_length_in_the_header(
    tmp_path: Path, size: int, seconds: float, damage: str | None
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_with(size, noise(3)))
    decoded, found = decode_damaged(path)
    assert len(decoded) == pytest.approx(16000 * seconds, abs=16)
    assert found == damage


@pytest.mark.parametrize(
    ("size", "damage"), [(5_000_000_000, "ends after 3.0 s of 156"), (6 * 32000, "of 6.0 s")]
)
def test_a_truncated_rf64_is_reported(tmp_path: Path, size: int, damage: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3), 16000, format="RF64", subtype="PCM_16")
    data = bytearray(path.read_bytes())
    place = data.index(b"ds64") + 8
    data[place : place + 16] = struct.pack("<QQ", size + 100, size)
    path.write_bytes(data)
    found = decode_damaged(path)[1]
    assert found
    assert damage in found


def test_chunks_after_the_samples_are_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for size in (32_000, 32_001):
        tags = b"LIST" + struct.pack("<I", 50_000) + b"INFO" + bytes(49_996)
        fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 16000, 1, 8)
        samples = b"data" + struct.pack("<I", size) + bytes([128]) * size + bytes(size % 2)
        content = b"WAVE" + fmt + samples + tags
        path.write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)
        samples_found, damage = decode_damaged(path)
        assert len(samples_found) == size
        assert damage is None


def test_a_wav_of_more_than_4_gib_is_decoded_beyond_its_header(tmp_path: Path) -> None:
    """The size in the header has 32 bits; the file is sparse."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3), 16000, subtype="PCM_16")
    with path.open("r+b") as file:
        file.truncate((1 << 32) + 44 + 96_000)  # 96,000 more than fit
    with open_audio(path) as recording:
        blocks = recording.blocks()
        first = next(blocks)
        second = next(blocks)
    assert len(first) == len(second) == 160_000
    assert first[:48_000].any()
    assert not second.any()


def test_a_flac_with_a_wrong_length(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(3), 16000)
    data = bytearray(path.read_bytes())
    data[22:26] = struct.pack(">I", 16000 * 60)  # STREAMINFO's samples
    path.write_bytes(data)
    decoded, damage = decode_damaged(path)
    assert len(decoded) == 16000 * 3
    assert damage
    assert "3.0 s" in damage


HUGE = (1 << 62).to_bytes(8, "big")


@pytest.mark.parametrize(
    "content",
    [
        b"caff\0\1\0\0" + b"desc" + HUGE,
        b"\x1a\x45\xdf\xa3\x01" + (1 << 54).to_bytes(7, "big"),
        b"\0\0\0\x10ftypM4A \0\0\0\0" + b"\0\0\0\x01mdat" + HUGE,
        b"FORM\x7f\xff\xff\xff8SVXVHDR\x7f\xff\xff\xf0",
        b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + HUGE * 3,
    ],
)
def test_damaged_sizes_beyond_any_file_system_are_an_audio_error(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(content + bytes(2000))
    with pytest.raises(AudioError, match="no audio"), open_audio(path):
        pass


def test_a_file_damaged_from_the_start_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, sine(16000), 16000)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(AudioError), open_audio(path) as recording:
        list(recording.blocks())


@pytest.mark.parametrize(
    "name", ["[bold]é 你好.wav", "-dash.wav", "a.raw", "file:x.wav", "x" * 250]
)
def test_file_names_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with Path(name).open("wb") as file:
        soundfile.write(file, sine(16000), 16000, format="WAV", subtype="FLOAT")
    np.testing.assert_array_equal(decode(Path(name))[1], sine(16000))


@pytest.mark.parametrize("name", ["é" * 125 + ".wav", "你" * 80 + ".wav", "a\nb.wav"])
def test_errors_contain_unusual_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(AudioError, match="empty") as caught, open_audio(tmp_path / name):
        pass
    assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize(
    "wave",
    [
        pytest.param(np.zeros(16000, "f4"), id="silence"),
        pytest.param(sine(16000) + np.float32(0.5), id="DC offset"),
        pytest.param(np.clip(5 * sine(16000), -1, 1), id="clipped"),
        pytest.param(3 * sine(16000), id="beyond full scale"),
    ],
)
def test_unusual_samples_are_unchanged(tmp_path: Path, wave: Array) -> None:
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(decode(tmp_path / "a.wav")[1], wave)


def test_ten_milliseconds_are_too_short(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16000, 0.01), 16000)
    with (
        pytest.raises(AudioError, match="only 10 ms of audio") as caught,
        open_audio(tmp_path / "a.wav") as recording,
    ):
        list(recording.blocks())
    assert caught.value.remedy


PICTURE = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + bytes(50_000) + b"\xff\xd9"


def syncsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3() -> bytes:
    """Return an ID3 header with a title and a cover."""
    title = b"\x03" + "Gespräch [bold] 你好".encode()
    cover = b"\x00image/jpeg\x00\x03\x00" + PICTURE
    frames = b"".join(
        name + syncsafe(len(each)) + b"\x00\x00" + each
        for name, each in ((b"TIT2", title), (b"APIC", cover))
    )
    return b"ID3\x04\x00\x00" + syncsafe(len(frames)) + frames


def test_tags_and_a_cover_do_not_change_an_mp3(tmp_path: Path) -> None:
    plain, tagged = tmp_path / "a.mp3", tmp_path / "b.mp3"
    soundfile.write(plain, sine(16000), 16000)
    tagged.write_bytes(id3() + plain.read_bytes() + b"TAG" + bytes(125))
    np.testing.assert_array_equal(decode(tagged)[1], decode(plain)[1])


def test_tags_and_a_cover_do_not_change_a_flac(tmp_path: Path) -> None:
    plain, tagged = tmp_path / "a.flac", tmp_path / "b.flac"
    soundfile.write(plain, sine(16000), 16000)
    whole = plain.read_bytes()
    kind = b"image/jpeg"
    block = struct.pack(">II", 3, len(kind)) + kind + struct.pack(">IIIIII", 0, 9, 9, 24, 0, 50_000)
    picture = b"\x06" + struct.pack(">I", len(block) + 50_000)[1:] + block + bytes(50_000)
    tagged.write_bytes(whole[:42] + picture + whole[42:])  # after STREAMINFO
    np.testing.assert_array_equal(decode(tagged)[1], decode(plain)[1])


def test_chunks_around_the_samples_do_not_change_a_wav(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16000), 16000, subtype="PCM_16")
    whole = (tmp_path / "a.wav").read_bytes()
    tags = b"LIST" + struct.pack("<I", 50_000) + b"INFO" + bytes(49_996)
    data = bytearray(whole[:36] + tags + whole[36:] + tags)
    data[4:8] = struct.pack("<I", len(data) - 8)
    (tmp_path / "b.wav").write_bytes(data)
    np.testing.assert_array_equal(decode(tmp_path / "b.wav")[1], decode(tmp_path / "a.wav")[1])


def test_tags_and_a_cover_do_not_change_an_m4a(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["title"] = "Gespräch 你好"
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        audio = container.add_stream("aac", rate=16000, layout="mono")
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux([*cover.encode(picture), *cover.encode(None)])
        frame = av.AudioFrame.from_ndarray(noise(2)[None], "fltp", "mono")
        frame.sample_rate = 16000
        container.mux([*audio.encode(frame), *audio.encode(None)])
    assert len(decode(path)[1]) == pytest.approx(32000, abs=2100)

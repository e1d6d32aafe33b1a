"""Truncated Ogg and MP4 files are reported as such."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import soundfile

from phi4audio_cli.audio.containers import is_missing_moov, ogg_damage
from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.errors import AudioError

from .audio_files import decode_damaged, encode, noise


def by_libsndfile(path: Path, subtype: str, seconds: float) -> bytes:
    with soundfile.SoundFile(path, "w", 48000, 1, subtype, format="OGG") as file:
        wave = noise(seconds, 48000)
        for start in range(0, len(wave), 16000):  # libsndfile crashes on long writes
            file.write(wave[start : start + 16000])
    return path.read_bytes()


def by_ffmpeg(path: Path, codec: str, seconds: float) -> bytes:
    encode(path, codec, noise(seconds, 48000)[None], 48000, "mono")
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("ogg") / "a.ogg"
    made = {}
    for seconds in (0.1, 1.3, 7.0):
        made[f"Vorbis {seconds}"] = by_libsndfile(path, "VORBIS", seconds)
        made[f"Opus {seconds}"] = by_libsndfile(path, "OPUS", seconds)
        made[f"FFmpeg's Opus {seconds}"] = by_ffmpeg(path, "libopus", seconds)
    return made


def is_truncated(data: bytes) -> bool:
    return ogg_damage(io.BytesIO(data)) == "cut off within an Ogg page"


def test_a_truncated_ogg_is_decoded_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(10), 16000)
    assert decode_damaged(path)[1] is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    decoded, damage = decode_damaged(path)
    assert 16000 * 3 < len(decoded) < 16000 * 6
    assert damage == "cut off within an Ogg page"


def test_an_intact_ogg_is_not_reported(whole: dict[str, bytes]) -> None:
    assert not [name for name, data in whole.items() if is_truncated(data)]
    assert not is_truncated(b"".join(whole.values())), "streams one after the other"
    tagged = (data + b"TAG" + bytes(125) for data in whole.values())
    assert not any(map(is_truncated, tagged))


def test_a_cut_within_a_page_is_detected(whole: dict[str, bytes]) -> None:
    for data in whole.values():
        last = data.rfind(b"OggS\0")
        assert is_truncated(data[: last + 5])
        assert is_truncated(data[: last + 27])
        assert is_truncated(data[:-1])
        assert not is_truncated(data[:last]), "nothing proves that more followed"


def test_other_formats_are_not_reported() -> None:
    for data in (b"", b"Og", b"OggS", b"RIFF....OggS\0"):
        assert not is_truncated(data)


@pytest.mark.parametrize("kind", ["m4a", "mov"])
def test_an_mp4_without_its_index_is_reported(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    encode(path, "aac", noise(3)[None], 16000, "mono")
    whole = path.read_bytes()
    index = whole.rfind(b"moov") - 4
    for length in (len(whole) // 2, index, index + 100):
        path.write_bytes(whole[:length])
        with pytest.raises(AudioError, match="its index is missing") as caught, open_audio(path):
            pass
        assert "get the whole file" in str(caught.value)
        assert caught.value.where == str(path)


def box(kind: bytes, content: bytes = b"", *, size: int | None = None, wide: bool = False) -> bytes:
    length = 8 + 8 * wide + len(content) if size is None else size
    if wide:
        return (1).to_bytes(4, "big") + kind + length.to_bytes(8, "big") + content
    return length.to_bytes(4, "big") + kind + content


INDEX = box(b"moov", bytes(30))


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        (box(b"ftyp", bytes(8)) + box(b"mdat", bytes(50)) + INDEX, False),
        (box(b"ftyp", bytes(8)) + INDEX + box(b"mdat", size=99), False),
        (box(b"ftyp", bytes(8)) + box(b"mdat", bytes(50), wide=True) + INDEX, False),
        (box(b"ftyp", bytes(8)) + box(b"mdat", bytes(50), wide=True), True),
        (box(b"mdat", INDEX, size=0), True),
        (box(b"ftyp", bytes(8)) + box(b"junk", INDEX, size=3), True),
        (box(b"ftyp", bytes(8)) + INDEX[:-1], True),
        (box(b"junk", bytes(8)), False),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", False),
        (b"", False),
    ],
)
def test_the_index_is_searched_box_by_box(data: bytes, missing: bool) -> None:
    file = io.BytesIO(data)
    file.seek(3)
    assert is_missing_moov(file) == missing
    assert file.tell() == 3

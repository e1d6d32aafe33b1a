"""Times are those that a player shows: stream starts, gaps, repeated packets and wrong clocks."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from phi4audio_cli.audio.decode import open_audio

from .media_files import RATE, Edit, bursts, decoded_bursts, later_by, mux, same_time, without

TIMES = [0.5, 2.5, 4.0, 7.25, 9.0]
WAVE = bursts(TIMES, 10)

CONTAINERS = [
    ("a.mp4", "aac", None),
    ("a.mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    ("a.mp4", "aac", {"movflags": "frag_keyframe+empty_moov+delay_moov"}),
    ("a.mov", "pcm_s16le", None),
    ("a.mkv", "aac", None),
    ("a.mkv", "flac", None),
    ("a.mkv", "libmp3lame", None),
    ("a.webm", "libopus", None),
    ("a.ts", "aac", None),
    ("a.ts", "libmp3lame", None),
    ("a.mpg", "mp2", None),
    ("a.flv", "aac", None),
    ("a.avi", "pcm_s16le", None),
]
DELAYED_CONTAINERS = [case for case in CONTAINERS if case[0] != "a.avi"]
"""FFmpeg's AVI muxer drops the start of a track."""

LOSSY_CONTAINERS = [case for case in DELAYED_CONTAINERS if case[1] != "pcm_s16le"]
"""MOV stores no time stamps of PCM packets."""

ENCODER_DELAY = 0.024
"""Silence that an encoder adds, seconds; some containers cannot store that it is to be dropped."""

STORES_DELAY = 0.0015
"""Largest error in all other containers, which store times in milliseconds."""


def tolerance(name: str, options: dict[str, str] | None) -> float:
    fragmented = bool(options) and "delay_moov" not in str(options)
    without_delay = name in ("a.ts", "a.mpg", "a.flv") or fragmented
    return ENCODER_DELAY if without_delay else STORES_DELAY


def film(
    path: Path,
    name: str,
    codec: str,
    options: dict[str, str] | None,
    edit: Edit = same_time,
    video_from: float | None = 0.0,
) -> Path:
    """Write the bursts into a container; WebM as Matroska, as it has no MPEG-4 video."""
    return mux(
        path / name,
        codec,
        [(WAVE, edit)],
        options=options,
        video_from=video_from,
        container_format="matroska" if name == "a.webm" and video_from is not None else None,
    )


@pytest.mark.parametrize(("name", "codec", "options"), CONTAINERS)
def test_audio_with_the_video_is_not_shifted(tmp_path: Path, name, codec, options) -> None:
    times, damage = decoded_bursts(film(tmp_path, name, codec, options))
    assert times == pytest.approx(TIMES, abs=tolerance(name, options))
    assert damage is None


@pytest.mark.parametrize(("name", "codec", "options"), CONTAINERS)
def test_audio_alone_is_not_shifted(tmp_path: Path, name, codec, options) -> None:
    times, damage = decoded_bursts(film(tmp_path, name, codec, options, video_from=None))
    assert times == pytest.approx(TIMES, abs=tolerance(name, options))
    assert damage is None


@pytest.mark.parametrize(("name", "codec", "options"), DELAYED_CONTAINERS)
def test_audio_after_the_video_begins_later(tmp_path: Path, name, codec, options) -> None:
    times, damage = decoded_bursts(film(tmp_path, name, codec, options, later_by(2.0)))
    assert times == pytest.approx([time + 2 for time in TIMES], abs=tolerance(name, options))
    assert damage is None


@pytest.mark.parametrize(("name", "codec", "options"), DELAYED_CONTAINERS)
def test_audio_before_the_video_begins_at_zero(tmp_path: Path, name, codec, options) -> None:
    times, damage = decoded_bursts(film(tmp_path, name, codec, options, video_from=1.5))
    assert times == pytest.approx(TIMES, abs=tolerance(name, options))
    assert damage is None


@pytest.mark.parametrize(("name", "codec", "options"), DELAYED_CONTAINERS)
def test_audio_alone_begins_at_zero_whatever_its_time_stamps(
    tmp_path: Path, name, codec, options
) -> None:
    path = film(tmp_path, name, codec, options, later_by(300.0), video_from=None)
    times, damage = decoded_bursts(path)
    assert times == pytest.approx(TIMES, abs=ENCODER_DELAY)
    assert damage is None


@pytest.mark.parametrize(("name", "codec", "options"), LOSSY_CONTAINERS)
def test_lost_packets_become_silence(tmp_path: Path, name, codec, options) -> None:
    path = film(tmp_path, name, codec, options, without((1.0, 2.2), (4.5, 6.9)))
    times, _ = decoded_bursts(path)
    assert times == pytest.approx(TIMES, abs=0.03)  # a lost packet may have started a burst's codec
    with open_audio(path) as recording:
        assert sum(map(len, recording.blocks())) == pytest.approx(160_000, abs=1600)


@pytest.mark.parametrize("codec", ["flac", "aac"])
def test_repeated_packets_are_decoded_once(tmp_path: Path, codec: str) -> None:
    path = film(tmp_path, "a.mkv", codec, None)
    twice: Edit = lambda time: [time, time] if 2.0 < time < 5.0 else [time]  # noqa: E731
    again = mux(tmp_path / "again.mkv", codec, [(WAVE, twice)])
    assert decoded_bursts(again)[0] == pytest.approx(decoded_bursts(path)[0], abs=1e-6)


@pytest.mark.parametrize("jump", [7200.0, 40_000.0])
@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "aac"), ("a.ts", "aac")])
def test_an_absurd_jump_is_reported_and_not_filled(
    tmp_path: Path, name: str, codec: str, jump: float
) -> None:
    edit: Edit = lambda time: [time + jump if time > 3 else time]  # noqa: E731
    times, damage = decoded_bursts(film(tmp_path, name, codec, None, edit, None))
    assert times == pytest.approx(TIMES, abs=ENCODER_DELAY)
    assert damage
    assert "the time stamps jump by" in damage


def pieces(path: Path, *edits: Edit) -> Path:
    """Join transport streams of the same recording, each with an edit of its packets."""
    parts = [
        film(path, f"{number}.ts", "aac", None, edit, None) for number, edit in enumerate(edits)
    ]
    joined = path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    return joined


def between(start: float, stop: float, shift: float = 0.0) -> Edit:
    return lambda time: [time + shift] if start <= time < stop else []


@pytest.mark.parametrize("jump", [5.0, 7200.0])
def test_a_few_wrong_time_stamps_are_ignored(tmp_path: Path, jump: float) -> None:
    wrong = pieces(tmp_path, between(0, 3), between(3, 3.1, jump), between(3.1, 99))
    times, damage = decoded_bursts(wrong)
    assert times == pytest.approx(TIMES, abs=ENCODER_DELAY)
    assert damage is None


def test_an_overlap_is_decoded_once(tmp_path: Path) -> None:
    times, damage = decoded_bursts(pieces(tmp_path, between(0, 4.6), between(3.8, 99)))
    assert times == pytest.approx(TIMES, abs=ENCODER_DELAY)
    assert damage is None


@pytest.mark.parametrize("seconds", [5, 10])
def test_joined_transport_streams_are_decoded_to_the_end(tmp_path: Path, seconds: float) -> None:
    part = between(0, seconds)
    times, damage = decoded_bursts(pieces(tmp_path, part, part))
    first = [time for time in TIMES if time < seconds]
    assert times == pytest.approx([*first, *(time + seconds for time in first)], abs=0.06)
    assert damage
    assert "the time stamps jump by" in damage


def test_each_track_has_its_own_start(tmp_path: Path) -> None:
    path = mux(tmp_path / "a.mkv", "flac", [(WAVE, same_time), (WAVE, later_by(3.0))])
    assert decoded_bursts(path, track=0)[0] == pytest.approx(TIMES, abs=0.001)
    later = [time + 3 for time in TIMES]
    assert decoded_bursts(path, track=1)[0] == pytest.approx(later, abs=0.001)


@pytest.mark.slow
def test_memory_does_not_grow_with_a_gap(tmp_path: Path) -> None:
    edit: Edit = lambda time: [time + 3000 if time > 5 else time]  # noqa: E731
    path = film(tmp_path, "a.mkv", "flac", None, edit, None)
    with open_audio(path) as recording:
        tracemalloc.start()
        count = sum(len(block) for block in recording.blocks())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == pytest.approx(3010 * 16000, abs=16)
    assert peak < 4e6  # the silence is 193 MB


def test_opus_pauses_without_packets_keep_the_times(tmp_path: Path) -> None:
    """Recorders of calls send no packets in silence."""
    quiet = [(0.0, 0.4), (0.7, 2.4), (2.7, 3.9), (4.2, 7.1), (7.5, 8.9)]
    path = mux(tmp_path / "a.webm", "libopus", [(WAVE, without(*quiet))], video_from=None)
    times, damage = decoded_bursts(path)
    assert np.diff(times) == pytest.approx(np.diff(TIMES), abs=0.03)
    assert damage is None


def test_a_damaged_part_of_an_mp3_becomes_silence(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.003, len(WAVE)).astype("f4")
    path = mux(tmp_path / "a.mp3", "libmp3lame", [(WAVE + noise, same_time)], video_from=None)
    before, _ = decoded_bursts(path)
    data = bytearray(path.read_bytes())
    start, stop = int(0.48 * len(data)), int(0.62 * len(data))
    data[start:stop] = bytes(stop - start)
    path.write_bytes(data)
    after, damage = decoded_bursts(path)
    assert after == pytest.approx(before, abs=0.15)
    assert damage


def test_a_flac_stream_that_was_joined_late_begins_at_zero(tmp_path: Path) -> None:
    """The frames of a live stream are numbered from its beginning."""
    path = tmp_path / "a.flac"
    soundfile.write(path, WAVE, RATE)
    whole = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    header = whole[: whole.index(packets[0])]
    skipped = len(packets) // 3
    path.write_bytes(header + b"".join(packets[skipped:]))
    times, _ = decoded_bursts(path)
    shift = skipped * 10 / len(packets)
    assert times == pytest.approx([time - shift for time in TIMES if time > shift], abs=0.05)

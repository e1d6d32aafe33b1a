"""Selection of the channel and the track of a recording."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import Channel

from .audio_files import Array, encode, sine

LEFT, RIGHT = sine(16000), sine(16000, hertz=1000)


def decode_channel(path: Path, channel: Channel = "mix", track: int | None = None) -> Array:
    with open_audio(path, channel=channel, track=track) as recording:
        return np.concatenate(list(recording.blocks()))


@pytest.mark.parametrize("kind", ["wav", "mkv"])
@pytest.mark.parametrize(
    ("channel", "expected"), [("left", LEFT), ("right", RIGHT), ("mix", (LEFT + RIGHT) / 2)]
)
def test_one_channel_or_their_average(
    tmp_path: Path, kind: str, channel: Channel, expected: Array
) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "wav":
        soundfile.write(path, np.stack([LEFT, RIGHT], 1), 16000, subtype="FLOAT")
    else:
        encode(path, "pcm_f32le", np.stack([LEFT, RIGHT]), 16000, "stereo")
    np.testing.assert_allclose(decode_channel(path, channel), expected, atol=1e-6)


def test_left_and_right_are_the_first_two_of_many_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([LEFT, RIGHT, 0 * LEFT, 0 * LEFT], 1), 16000, subtype="FLOAT")
    np.testing.assert_array_equal(decode_channel(path, "left"), LEFT)
    np.testing.assert_array_equal(decode_channel(path, "right"), RIGHT)


@pytest.mark.parametrize("channel", ["left", "right"])
@pytest.mark.parametrize("kind", ["wav", "mkv"])
def test_a_mono_recording_has_no_left_and_right(
    tmp_path: Path, kind: str, channel: Channel
) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "wav":
        soundfile.write(path, LEFT, 16000)
    else:
        encode(path, "pcm_f32le", LEFT[None], 16000, "mono")
    with (
        pytest.raises(AudioError, match="mono, without") as caught,
        open_audio(path, channel=channel),
    ):
        pass
    assert caught.value.remedy == "leave out --channel"


def film(path: Path) -> Path:
    """Write a video with two audio streams, LEFT and RIGHT."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        streams = [container.add_stream("pcm_f32le", rate=16000, layout="mono") for _ in range(2)]
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        for stream, wave in zip(streams, (LEFT, RIGHT), strict=True):
            frame = av.AudioFrame.from_ndarray(wave[None], "flt", "mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        for stream in (video, *streams):
            container.mux(stream.encode(None))
    return path


def test_a_video_gives_its_first_or_the_requested_audio_stream(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv")
    np.testing.assert_allclose(decode_channel(path), LEFT, atol=1e-6)
    np.testing.assert_allclose(decode_channel(path, track=0), LEFT, atol=1e-6)
    np.testing.assert_allclose(decode_channel(path, track=1), RIGHT, atol=1e-6)


@pytest.mark.parametrize("track", [2, -1])
def test_a_missing_track_is_reported_with_the_number_of_tracks(tmp_path: Path, track: int) -> None:
    path = film(tmp_path / "film.mkv")
    with (
        pytest.raises(
            AudioError, match=f"no audio track {track}, the number of tracks is 2"
        ) as caught,
        open_audio(path, track=track),
    ):
        pass
    assert caught.value.remedy == "tracks are counted from 0: give --track 0 to 1"


def test_a_plain_recording_has_one_track(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", LEFT, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(decode_channel(tmp_path / "a.wav", track=0), LEFT)
    with (
        pytest.raises(AudioError, match="no audio track 1, the number of tracks is 1") as caught,
        open_audio(tmp_path / "a.wav", track=1),
    ):
        pass
    assert caught.value.remedy == "leave out --track"

"""Finding speech: our faster network equals Silero's, and marks hold what was promised."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.audio import silero
from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.audio.resample import reblock
from phi4audio_cli.audio.vad import (
    MIN_SILENCE_WINDOWS,
    MIN_SPEECH_WINDOWS,
    OFFSET_THRESHOLD,
    ONSET_THRESHOLD,
    WINDOWS_PER_PASS,
    SileroDetector,
    SpeechSegmenter,
    normalize_gain,
)

Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def voices(fsdd: Path) -> Array:
    """A minute of real voices at 8 kHz, with pauses."""
    files = sorted(fsdd.glob("*.wav"))[::40]
    parts = [np.pad(soundfile.read(file, dtype="float32")[0], (0, 4000)) for file in files]
    return np.concatenate(parts)[: 8000 * 60]


@pytest.fixture(scope="module")
def wide(recordings: Path) -> Array:
    with open_audio(recordings / "jfk.flac") as recording:
        return np.concatenate(list(recording.blocks()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("rate", [16000, 8000])
def test_the_probabilities_equal_those_of_silero_vad(wide: Array, voices: Array, rate: int) -> None:
    threads = torch.get_num_threads()
    import silero_vad

    theirs = silero_vad.load_silero_vad()
    torch.set_num_threads(threads)
    samples = wide if rate == 16000 else voices[: 8000 * 20]
    size = silero.window_length(rate)
    loud = np.concatenate(
        [
            normalize_gain(np.pad(part, (0, -len(part) % size)), size)
            for part in reblock([samples], WINDOWS_PER_PASS * size)
        ]
    )
    expected = [
        theirs(torch.from_numpy(part), rate).item() for part in np.split(loud, len(loud) // size)
    ]
    detected = list(SileroDetector().detect([samples], rate))
    np.testing.assert_array_equal(np.concatenate([part for part, _ in detected]), samples)
    np.testing.assert_allclose(np.concatenate([each for _, each in detected]), expected, atol=1e-5)


def test_blocks_do_not_matter(wide: Array) -> None:
    whole = list(SileroDetector().detect([wide], 16000))
    blocks = np.array_split(wide, 77)
    for (samples, scores), (same, scored) in zip(
        whole, SileroDetector().detect(blocks, 16000), strict=True
    ):
        np.testing.assert_array_equal(samples, same)
        np.testing.assert_array_equal(scores, scored)


@pytest.mark.parametrize("loudness", [1.0, 0.1, 0.01])
def test_quiet_voices_are_detected_like_loud_ones(wide: Array, loudness: float) -> None:
    def speech_share(samples: Array) -> float:
        detected = SileroDetector().detect([samples], 16000)
        return float((np.concatenate([scores for _, scores in detected]) >= ONSET_THRESHOLD).mean())

    assert speech_share(loudness * wide) == pytest.approx(speech_share(wide), abs=0.03)


def test_loud_samples_are_unchanged_and_gain_keeps_the_range() -> None:
    noise = np.random.default_rng(0).standard_normal(512 * 50).astype("f4")
    np.testing.assert_array_equal(normalize_gain(0.3 * noise, 512), 0.3 * noise)
    assert np.abs(normalize_gain(0.01 * noise, 512)).max() <= 1
    assert normalize_gain(np.zeros(512 * 4, "f4"), 512).max() == 0


def test_silence_and_tones_are_not_speech() -> None:
    time = np.arange(16000 * 10) / 16000
    music = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277, 330)) / 10
    hiss = np.random.default_rng(0).standard_normal(16000 * 10) / 1000
    for samples in (np.zeros(16000 * 10), music, hiss):
        for _, scores in SileroDetector().detect([samples.astype("f4")], 16000):
            assert (scores[10:] < ONSET_THRESHOLD).mean() > 0.95


@pytest.mark.slow
def test_loading_does_not_change_torch_s_threads() -> None:
    program = (
        "import torch; torch.set_num_threads(3)\n"
        "from phi4audio_cli.audio import silero; silero.load(16000)\n"
        "assert torch.get_num_threads() == 3"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@given(st.lists(st.integers(1, 50)), st.integers(1, 20))
def test_reblocked_samples_have_one_length(sizes: list[int], length: int) -> None:
    samples = np.arange(sum(sizes), dtype=np.float32)
    blocks = np.split(samples, np.cumsum(sizes))
    found = list(reblock(blocks, length))
    np.testing.assert_array_equal(np.concatenate([samples[:0], *found]), samples)
    assert all(len(each) == length for each in found[:-1])
    assert all(0 < len(each) <= length for each in found)


def speech_mask(scores: list[float], sizes: list[int]) -> list[bool]:
    finder = SpeechSegmenter()
    found: list[bool] = []
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(scores):
            break
        found += finder.push(np.array(scores[start : start + size], np.float32)).tolist()
        start += size
        assert len(found) <= start
        assert len(found) > min(start, len(scores)) - MIN_SILENCE_WINDOWS - MIN_SPEECH_WINDOWS - 1
    return found + finder.finish().tolist()


SCORES = st.lists(
    st.sampled_from(
        [0.0, OFFSET_THRESHOLD - 0.01, OFFSET_THRESHOLD + 0.01, ONSET_THRESHOLD - 0.01, 0.6, 1.0]
    )
)


@given(SCORES, st.lists(st.integers(1, 9), min_size=1))
def test_the_mask_does_not_depend_on_the_division(scores: list[float], sizes: list[int]) -> None:
    found = speech_mask(scores, sizes)
    assert found == speech_mask(scores, [max(1, len(scores))])
    assert len(found) == len(scores)
    runs = [(mark, len(list(group))) for mark, group in itertools.groupby(found)]
    assert all(length >= MIN_SPEECH_WINDOWS for mark, length in runs if mark)
    assert all(length >= MIN_SILENCE_WINDOWS for mark, length in runs[1:-1] if not mark)


@given(SCORES)
def test_certain_speech_is_in_the_mask(scores: list[float]) -> None:
    found = speech_mask(scores, [100])
    for start in range(len(scores) - MIN_SPEECH_WINDOWS + 1):
        if min(scores[start : start + MIN_SPEECH_WINDOWS]) >= ONSET_THRESHOLD:
            assert all(found[start : start + MIN_SPEECH_WINDOWS])
    for start in range(len(scores) - MIN_SILENCE_WINDOWS + 1):
        if max(scores[start : start + MIN_SILENCE_WINDOWS]) < OFFSET_THRESHOLD:
            assert not any(found[start : start + MIN_SILENCE_WINDOWS])


def test_short_pauses_count_as_speech_and_clicks_do_not() -> None:
    assert speech_mask([1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0], [1]) == [True] * 7 + [False] * 4
    assert speech_mask([0, 1, 1, 0, 0, 0, 0, 0], [1]) == [False] * 8


def test_speech_is_detected_at_its_place(wide: Array) -> None:
    (_, first), *rest = SileroDetector().detect([wide], 16000)
    finder = SpeechSegmenter()
    found = np.concatenate(
        [finder.push(first), *(finder.push(scores) for _, scores in rest), finder.finish()]
    )
    expected = np.zeros(len(found), bool)
    for start, stop in [(0.3, 2.3), (3.3, 4.4), (5.4, 7.7), (8.2, 10.6)]:  # Silero's own
        expected[round(start / 0.032) : round(stop / 0.032)] = True
    assert (found != expected).sum() * 0.032 < 0.5

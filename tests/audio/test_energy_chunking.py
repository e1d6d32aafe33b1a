"""Chunks contain every sample once, within the limits of length, for any blocks."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.types import Chunk

Array = npt.NDArray[np.float32]

RATE = 1000


def split(samples: Array, sizes: list[int]) -> Iterator[Array]:
    """Divide samples into blocks of the given sizes, over and over."""
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(samples):
            return
        yield samples[start : start + size]
        start += size


def speech(seconds: float, pauses: list[tuple[float, float]], rate: int = 16000) -> Array:
    """Return noise with pauses of faint noise at (start, stop) seconds."""
    random = np.random.default_rng(0)
    wave = random.normal(0, 0.1, int(seconds * rate)).astype("f4")
    for start, stop in pauses:
        wave[int(start * rate) : int(stop * rate)] *= 0.01
    return wave


@st.composite
def recordings(draw: st.DrawFn) -> Array:
    """Return stretches of noise of several loudnesses, some silent."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = draw(st.lists(st.tuples(st.integers(1, 4000), st.sampled_from([0, 1e-3, 0.1, 1]))))
    waves = [random.normal(0, loudness, length) for length, loudness in parts]
    return np.concatenate([np.empty(0), *waves]).astype("f4")


def shape(chunks: list[Chunk]) -> list[tuple[int, int, int]]:
    return [(chunk.index, chunk.start, chunk.stop) for chunk in chunks]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(recordings(), st.floats(0.1, 5), st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_chunks_cover_everything_within_the_limit_for_any_blocks(
    samples: Array, limit: float, sizes: list[int]
) -> None:
    chunks = list(chunk_at_silence(split(samples, sizes), RATE, limit))
    together = [chunk.samples for chunk in chunks]
    np.testing.assert_array_equal(np.concatenate([np.empty(0), *together]), samples)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    starts = np.cumsum([0, *map(len, together)])[:-1]
    assert [chunk.start for chunk in chunks] == starts.tolist()
    most = int(limit * RATE)
    assert all(0 < len(chunk.samples) <= most for chunk in chunks)
    if len(chunks) > 1:
        assert min(map(len, together)) >= most // 3
    assert shape(list(chunk_at_silence([samples], RATE, limit))) == shape(chunks)


def test_the_cut_falls_in_the_longest_pause() -> None:
    wave = speech(70, [(5, 6), (28, 28.2), (31, 31.8), (36, 36.3)])
    first, second = chunk_at_silence([wave], 16000, 40)
    assert first.stop_seconds == pytest.approx(31.4, abs=0.05)
    assert second.start == first.stop


def test_a_short_closure_is_not_a_pause_and_digital_silence_counts_as_a_real_pause() -> None:
    wave = speech(70, [(30, 30.5)])
    wave[35 * 16000 : int(35.03 * 16000)] = 0
    first, _ = chunk_at_silence([wave], 16000, 40)
    assert first.stop_seconds == pytest.approx(30.25, abs=0.05)


def test_without_a_pause_the_cut_is_at_the_quietest_point() -> None:
    wave = speech(70, [])
    wave[33 * 16000 : 34 * 16000] *= 0.3
    first, _ = chunk_at_silence([wave], 16000, 40)
    assert 33 <= first.stop_seconds <= 34


def test_the_last_chunk_is_never_too_short() -> None:
    wave = speech(41, [(0.8, 1), (20.2, 20.8), (39, 40)])
    first, second = chunk_at_silence([wave], 16000, 40)
    assert first.stop_seconds == pytest.approx(20.5, abs=0.05)
    assert second.stop == len(wave)


def test_a_recording_within_the_limit_is_one_chunk() -> None:
    wave = speech(40, [(20, 21)])
    (only,) = chunk_at_silence([wave], 16000, 40)
    assert (only.start, only.stop, only.seconds) == (0, 640000, 40.0)
    assert list(chunk_at_silence([], 16000, 40)) == []


def test_a_chunk_holds_only_its_own_samples_in_memory() -> None:
    chunks = list(chunk_at_silence([speech(100, [])], 16000, 40))
    assert all(chunk.samples.base is None or len(chunks) == 1 for chunk in chunks)
    assert all(chunk.samples.flags.c_contiguous for chunk in chunks)


def test_memory_does_not_grow_with_the_length() -> None:
    def peak(minutes: int) -> int:
        blocks = (np.zeros(160000, "f4") for _ in range(6 * minutes))
        tracemalloc.start()
        assert sum(len(chunk.samples) for chunk in chunk_at_silence(blocks, 16000, 40))
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    assert peak(20) < 1.1 * peak(4)


def test_a_limit_too_short_for_the_model_is_rejected() -> None:
    with pytest.raises(ValueError, match="limit"):
        list(chunk_at_silence([np.zeros(100, "f4")], 16000, 0.05))

"""Packing speech: all of it once, within the limit, no crumbs, whatever the blocks."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phi4audio_cli.audio.decode import open_audio
from phi4audio_cli.audio.resample import reblock
from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.vad import SileroDetector, SpeechSegmenter
from phi4audio_cli.types import Chunk, Span

Array = npt.NDArray[np.float32]

RATE = 2000
WINDOW = 64


class EnergyDetector:
    """A detector for tests: a window is speech when its samples are loud."""

    def window_length(self, sample_rate: int) -> int:
        return WINDOW * sample_rate // RATE

    def detect(
        self, blocks: Iterable[Array], sample_rate: int
    ) -> Iterator[tuple[Array, npt.NDArray[np.float32]]]:
        window = self.window_length(sample_rate)
        for samples in reblock(blocks, 64 * window):
            whole = np.pad(samples, (0, -len(samples) % window))
            yield samples, (np.abs(whole).reshape(-1, window).max(axis=1) > 0.01).astype("f4")


def chunk_all(samples: Array, limit: float, sizes: list[int] | None = None) -> list[Chunk]:
    blocks = [samples] if sizes is None else divided(samples, sizes)
    return list(chunk_speech(blocks, RATE, limit, EnergyDetector()))


def divided(samples: Array, sizes: list[int]) -> Iterator[Array]:
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(samples):
            return
        yield samples[start : start + size]
        start += size


def all_speech(samples: Array) -> list[Span]:
    finder = SpeechSegmenter()
    found = [finder.push(scores) for _, scores in EnergyDetector().detect([samples], RATE)]
    marks = np.concatenate([*found, finder.finish()]).astype(int)
    places = np.flatnonzero(np.diff(marks, prepend=0, append=0)) * WINDOW
    return [Span(a, min(b, len(samples))) for a, b in places.reshape(-1, 2).tolist()]


def synthetic_speech(*parts: float) -> Array:
    """Return noise and silence in turn, each so many seconds."""
    random = np.random.default_rng(0)
    waves = [
        random.normal(0, 0.2 * (1 - index % 2), round(seconds * RATE))
        for index, seconds in enumerate(parts)
    ]
    return np.concatenate(waves).astype("f4")


@st.composite
def recordings(draw: st.DrawFn) -> Array:
    """Return speech with pauses of many lengths."""
    speech = st.floats(0.01, 8)
    pause = st.one_of(st.floats(0.01, 0.3), st.floats(0.1, 1), st.floats(1, 12))
    parts = draw(st.lists(st.tuples(pause, speech), max_size=12))
    return synthetic_speech(
        0, *itertools.chain.from_iterable(parts), draw(st.sampled_from([0, 0.5, 9]))
    )


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(recordings(), st.floats(1, 10), st.lists(st.integers(1, 30000), min_size=1, max_size=4))
@example(synthetic_speech(30), 4.0, [1000])
@example(np.zeros(0, "f4"), 4.0, [1000])
def test_properties(samples: Array, limit: float, sizes: list[int]) -> None:
    chunks = chunk_all(samples, limit, sizes)
    most = int(limit * RATE)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        assert len(chunk.samples) <= most
        assert len(chunk.samples) >= min(RATE // 20, len(samples))
        np.testing.assert_array_equal(chunk.samples, samples[chunk.start : chunk.stop])
        assert chunk.samples.flags.c_contiguous
        assert chunk.speech
        assert all(chunk.start <= span.start < span.stop <= chunk.stop for span in chunk.speech)
    for chunk, following in itertools.pairwise(chunks):
        assert chunk.start < following.start
        assert chunk.stop < following.stop
        assert chunk.stop - following.start <= most // 8  # the overlap
    check_speech(samples, chunks, most)
    check_crumbs(chunks, most)
    again = chunk_all(samples, limit)
    assert [(each.start, each.stop) for each in chunks] == [(e.start, e.stop) for e in again]


def check_speech(samples: Array, chunks: list[Chunk], most: int) -> None:
    """All speech is in the chunks, and no long silence is."""
    speech_mask = np.zeros(len(samples), bool)
    sent = np.zeros(len(samples), bool)
    for span in all_speech(samples):
        speech_mask[span.start : span.stop] = True
    for chunk in chunks:
        sent[chunk.start : chunk.stop] = True
        inside = np.zeros(len(samples), bool)
        for span in chunk.speech:
            inside[span.start : span.stop] = True
        np.testing.assert_array_equal(
            inside[chunk.start : chunk.stop], speech_mask[chunk.start : chunk.stop]
        )
    assert not (speech_mask & ~sent).any()
    silent = np.flatnonzero(np.diff((sent & ~speech_mask).astype(int), prepend=0, append=0))
    assert all(np.diff(silent.reshape(-1, 2)) <= min(2 * RATE, most // 8) * 5 // 4)


def check_crumbs(chunks: list[Chunk], most: int) -> None:
    """What was cut because of the limit leaves no crumb on either side."""
    for chunk, following in itertools.pairwise(chunks):
        pause = following.speech[0].start - chunk.speech[-1].stop
        if pause < min(2 * RATE, most // 8):
            assert min(len(chunk.samples), len(following.samples)) > most // 6


def seconds(chunks: list[Chunk]) -> list[tuple[float, float]]:
    return [(chunk.start_seconds, chunk.stop_seconds) for chunk in chunks]


def test_a_cut_falls_in_the_longest_pause_of_the_last_third() -> None:
    chunks = chunk_all(synthetic_speech(10, 1, 20, 0.4, 4, 0.8, 2, 0.5, 20), 40)
    assert seconds(chunks)[0] == pytest.approx((0, 35.4 + 0.25), abs=0.05)
    assert seconds(chunks)[1] == pytest.approx((36.2 - 0.25, 58.7), abs=0.05)


def test_long_silence_is_not_sent() -> None:
    chunks = chunk_all(synthetic_speech(0, 60, 3, 30, 5, 1.5, 5, 100), 40)
    np.testing.assert_allclose(seconds(chunks), [(59.75, 63.25), (92.75, 104.75)], atol=0.05)
    assert chunk_all(synthetic_speech(0, 300), 40) == []


def test_chunks_overlap_where_there_is_no_pause() -> None:
    chunks = chunk_all(synthetic_speech(100), 40)
    overlaps = [a.stop_seconds - b.start_seconds for a, b in itertools.pairwise(chunks)]
    assert len(chunks) == 3
    assert all(2.4 <= overlap <= 5 for overlap in overlaps)
    assert all(chunk.seconds <= 40 for chunk in chunks)
    assert chunks[-1].stop_seconds == 100


def test_the_last_chunk_is_never_too_short() -> None:
    first, second = chunk_all(synthetic_speech(1, 0.5, 19.5, 0.5, 15, 0.5, 4), 40)
    assert first.stop_seconds == pytest.approx(21.25, abs=0.1)
    assert second.stop_seconds == 41


def test_a_single_word_has_some_silence_around_it() -> None:
    (only,) = chunk_all(synthetic_speech(0, 10, 0.2, 10), 40)
    assert only.seconds == 1
    assert only.start_seconds < 10 < 10.2 < only.stop_seconds
    (only,) = chunk_all(synthetic_speech(0.3), 40)
    assert only.seconds == 0.3


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length() -> None:
    def peak(minutes: int) -> int:
        blocks = (synthetic_speech(9, 1) for _ in range(6 * minutes))
        tracemalloc.start()
        assert sum(len(chunk.samples) for chunk in chunk_speech(blocks, RATE, 40, EnergyDetector()))
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    assert peak(15) < 1.1 * peak(4)


def test_silence_is_not_kept_in_memory() -> None:
    blocks = (np.zeros(10 * RATE, "f4") for _ in range(60))
    tracemalloc.start()
    assert list(chunk_speech(blocks, RATE, 40, EnergyDetector())) == []
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_limit_too_short_is_rejected() -> None:
    with pytest.raises(ValueError, match="limit"):
        chunk_all(synthetic_speech(1), 0.5)


@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_real_recording(recordings: Path, rate: int) -> None:
    with open_audio(recordings / "multilingual.mp3") as recording:
        samples = np.concatenate(list(recording.blocks()))[:: 16000 // rate]
    chunks = list(chunk_speech([samples], rate, 40, SileroDetector()))
    blocks = np.array_split(samples, 50)
    again = list(chunk_speech(blocks, rate, 40, SileroDetector()))
    assert [(c.start, c.stop, c.speech) for c in chunks] == [
        (c.start, c.stop, c.speech) for c in again
    ]
    speech_mask = sum(map(len, (span for chunk in chunks for span in chunk.speech))) / rate
    assert 30 < speech_mask < 60

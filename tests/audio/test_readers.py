"""Readers side by side: how many, what their processes are like, the chunks of one process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from phi4audio_cli.audio import readers
from phi4audio_cli.audio.apart import ReaderApart
from phi4audio_cli.audio.packing import cut_speech
from phi4audio_cli.audio.readers import MOST, Readers, reader_count
from phi4audio_cli.audio.reading import ReaderHere, Wanted
from phi4audio_cli.audio.vad import SileroDetector

from .openers import block_by_block, cut_speech_without_torch, opened


@pytest.mark.parametrize(
    ("wanted", "device", "cores", "count"),
    [
        (3, "cpu", 2, 3),
        ("auto", "cpu", 16, 1),
        ("auto", "mps", 16, 1),
        ("auto", "cuda", 1, 1),
        ("auto", "cuda:1", 4, 3),
        ("auto", "cuda", 64, MOST),
    ],
)
def test_how_many(wanted, device: str, cores: int, count: int, monkeypatch) -> None:
    monkeypatch.setattr(readers, "_cores", lambda: cores)
    assert reader_count(wanted, device) == count


def test_processes_start_when_they_are_needed_and_end_with_the_context() -> None:
    with Readers(ReaderHere(opened, block_by_block)) as some:
        three = some.several(3)
        assert [reader.pid is not None for reader in three] == [True, False, False]
        with three[2].read(Wanted(Path("block.wav"), 1)) as reading:
            assert len(list(reading.chunks())) == 1
        assert three[2].pid
        assert some.several(2) == three[:2]
    assert not any(reader.pid for reader in three)


@pytest.mark.parametrize("name", ["jfk.flac", "multilingual.mp3"])
def test_speech_is_found_there_as_here_without_torch(recordings: Path, name: str) -> None:
    order = Wanted(recordings / name, 5.0)
    detector = SileroDetector()
    with ReaderHere(cut=partial(cut_speech, detector=detector)).read(order) as here:
        expected = list(here.chunks())
    cut = partial(cut_speech_without_torch, detector=detector)
    with ReaderApart(ReaderHere(cut=cut)) as reader, reader.read(order) as apart:
        found = list(apart.chunks())
    assert len(found) > 1
    for one, other in zip(found, expected, strict=True):
        assert (one.index, one.start, one.speech) == (other.index, other.start, other.speech)
        np.testing.assert_array_equal(one.samples, other.samples)


def test_pauses_are_kept_where_they_are_wanted(recordings: Path) -> None:
    order = Wanted(recordings / "jfk.flac", 5.0, keep_pauses=True)
    cut = partial(cut_speech, detector=SileroDetector())
    with ReaderApart(ReaderHere(cut=cut)) as reader, reader.read(order) as reading:
        chunks = list(reading.chunks())
    assert sum(chunk.seconds for chunk in chunks) == reading.seconds


def test_a_process_computes_with_one_thread(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    with (
        ReaderApart(ReaderHere(opened, block_by_block)) as reader,
        reader.read(Wanted(Path("alone.wav"), 1)) as reading,
    ):
        assert len(list(reading.chunks())) == 1

"""The pipeline from recordings to events: order, completeness and isolated failures."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.audio.reader import Chunker, InProcessReader
from phi4audio_cli.errors import AudioError
from phi4audio_cli.pipeline.backend import ScriptedBackend
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import (
    ChunkDone,
    Event,
    FileDone,
    FileFailed,
    FileStarted,
    Job,
    Request,
)

RATE = 16_000


def recording(path: Path, seconds: float) -> Path:
    noise = np.random.default_rng(len(path.name)).standard_normal(int(seconds * RATE))
    soundfile.write(path, 0.1 * noise, RATE)
    return path


def jobs_of(paths: Iterable[Path]) -> list[Job]:
    return [Job(index, path) for index, path in enumerate(paths)]


def chunk_id(request: Request) -> str:
    return f"{request.job}:{request.chunk.index}"


def events(
    paths: Iterable[Path], backend: ScriptedBackend | None = None, chunk_seconds: float = 2.0
) -> list[Event]:
    backend = backend or ScriptedBackend(chunk_id)
    return list(run(jobs_of(paths), backend, chunk_seconds))


def run(
    jobs: Iterable[Job],
    backend: ScriptedBackend,
    chunk_seconds: float = 2.0,
    chunker: Chunker = chunk_at_silence,
) -> Iterator[Event]:
    task = Transcribe()
    return run_pipeline(
        jobs,
        lambda job: task,
        backend,
        chunk_seconds=chunk_seconds,
        source_options=SourceOptions([InProcessReader(chunker=chunker)]),
    )


def of(kind: type, found: list[Event]) -> list:
    return [event for event in found if isinstance(event, kind)]


@pytest.mark.parametrize(
    "backend", [ScriptedBackend(chunk_id), ScriptedBackend(chunk_id, batch_size=None)]
)
def test_every_chunk_of_every_recording_once_and_in_its_place(backend, tmp_path: Path):
    paths = [recording(tmp_path / f"{n}.wav", seconds) for n, seconds in enumerate((5, 0.5, 7))]
    found = events(paths, backend)
    assert [event.job.source for event in of(FileStarted, found)] == paths
    results = {event.job.index: event.result for event in of(FileDone, found)}
    for index, (path, result) in enumerate(zip(paths, sorted(results.items()), strict=True)):
        segments = result[1].segments
        assert [segment.text for segment in segments] == [
            f"{index}:{number}" for number in range(len(segments))
        ]
        assert segments[0].start == 0
        assert segments[-1].end == soundfile.info(path).duration == result[1].duration
        for left, right in pairwise(segments):
            assert left.end == right.start
    assert len(of(ChunkDone, found)) == sum(len(result.segments) for result in results.values())


def test_chunks_stay_under_the_limit_and_starts_are_the_real_cuts(tmp_path: Path):
    backend = ScriptedBackend(chunk_id)
    events([recording(tmp_path / "long.wav", 9.3)], backend)
    chunks = [request.chunk for request in backend.requests]
    assert max(chunk.seconds for chunk in chunks) <= 2.0
    position = 0
    for chunk in chunks:
        assert chunk.start == position
        position = chunk.stop
    assert position == int(9.3 * RATE)


def test_a_recording_that_fails_does_not_stop_the_others(tmp_path: Path):
    good = [recording(tmp_path / name, 3) for name in ("a.wav", "c.wav")]
    broken = tmp_path / "b.wav"
    broken.write_text("not audio")
    found = events([good[0], broken, good[1]])
    [failure] = of(FileFailed, found)
    assert failure.job.source == broken
    assert isinstance(failure.error, AudioError)
    assert [event.job.source for event in of(FileDone, found)] == good


def test_a_recording_that_fails_in_the_middle_has_one_outcome(tmp_path: Path):
    path = recording(tmp_path / "a.wav", 9)

    def chunker(blocks, rate, limit):
        chunks = list(chunk_at_silence(blocks, rate, limit))
        yield from chunks[:2]
        raise RuntimeError("decoder gave up")

    backend = ScriptedBackend(chunk_id)
    found = list(run(jobs_of([path]), backend, chunker=chunker))
    assert len(of(FileFailed, found)) == 1
    assert not of(FileDone, found)


@pytest.mark.parametrize(
    ("level", "text", "warned"), [(0.1, "", True), (0.1, "word", False), (1e-4, "", False)]
)
@pytest.mark.parametrize("speech", [True, False], ids=["chunks", "no chunk"])
def test_an_empty_result_of_audio_that_is_not_silent_has_a_warning(
    tmp_path: Path, level: float, text: str, warned: bool, speech: bool
):
    noise = np.random.default_rng(0).standard_normal(3 * RATE)
    soundfile.write(tmp_path / "a.wav", level * noise, RATE)
    chunker = chunk_at_silence if speech else lambda blocks, *_: (c for b in blocks for c in ())
    backend = ScriptedBackend(lambda request: text)
    [done] = of(FileDone, list(run(jobs_of([tmp_path / "a.wav"]), backend, 2.0, chunker)))
    if speech or not text:
        expected = ("no text, although 3.0 s of the audio are not silent",) if warned else ()
        assert done.warnings == expected


def test_an_error_of_the_backend_is_raised(tmp_path: Path):
    def fail(request: Request) -> str:
        raise RuntimeError("device lost")

    with pytest.raises(RuntimeError, match="device lost"):
        events([recording(tmp_path / "a.wav", 1)], ScriptedBackend(fail))


def test_recordings_are_opened_as_they_are_needed(tmp_path: Path):
    """Far more recordings than fit the queues: the last aren't opened before the first is done."""
    paths = [recording(tmp_path / f"{n}.wav", 0.5) for n in range(40)]
    waiting: list[int] = []
    opened = threading.Semaphore(0)

    def jobs() -> Iterator[Job]:
        for job in jobs_of(paths):
            waiting.append(job.index)
            opened.release()
            yield job

    stream = run(jobs(), ScriptedBackend(chunk_id))
    next(event for event in stream if isinstance(event, FileDone))
    assert len(waiting) < 15
    assert len([event for event in stream if isinstance(event, FileDone)]) == 39


def test_nothing_to_do():
    assert events([]) == []

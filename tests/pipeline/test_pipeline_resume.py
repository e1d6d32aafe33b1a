"""The pipeline with an answer store, split channels, a task per recording, and stopping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from phi4audio_cli.audio.decode import OpenAudio
from phi4audio_cli.audio.reader import InProcessReader
from phi4audio_cli.errors import FileError
from phi4audio_cli.pipeline.backend import ScriptedBackend
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import (
    AudioInfo,
    Chunk,
    ChunkDone,
    Event,
    FileDone,
    FileFailed,
    Generation,
    Job,
    Request,
    Transcript,
)

RATE = 16_000
BLOCK = 100


class Recording:
    def __init__(self, blocks: int, damage: str | None = None) -> None:
        self.count = blocks
        self.damage = damage
        self.info = AudioInfo(RATE, blocks * BLOCK / RATE)

    def blocks(self) -> Iterator[np.ndarray]:
        for _ in range(self.count):
            yield np.full(BLOCK, 0.5, np.float32)


def chunk_blocks(blocks, rate: int, limit: float) -> Iterator[Chunk]:
    for index, block in enumerate(blocks):
        yield Chunk(index, block, rate, index * BLOCK)


class Listing(Task):
    """Its result lists the answers; where `twice`, every second chunk gets a retry."""

    max_chunk_seconds = 40.0

    def __init__(self, prompt: str = "say", *, twice: bool = False) -> None:
        self.prompt = prompt
        self.twice = twice

    def requests(self, job: int, chunk: Chunk) -> list[Request]:
        return [Request(job, chunk, f"{self.prompt} {chunk.speaker or ''}{chunk.index}", 1)]

    def retry(self, answer: Generation) -> Sequence[Request]:
        request = answer.request
        if not self.twice or request.label or request.chunk is None or request.chunk.index % 2:
            return ()
        return [Request(request.job, request.chunk, f"{request.prompt} again", 1, "again")]

    def follow_up(self, answers: Sequence[Generation]) -> Sequence[Request]:
        if not self.twice or any(each.request.chunk is None for each in answers):
            return ()
        return [Request(answers[0].request.job, None, "join", 1)]

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Transcript:
        return Transcript("|".join(each.text for each in answers), None, (), seconds, "")


class FakeAnswerStore:
    """Stores answers by prompt."""

    def __init__(self) -> None:
        self.answers: dict[tuple[int, str], str] = {}
        self.opened: list[tuple[int, Path]] = []
        self.refused: set[int] = set()

    def open_recording(self, job: Job, source: Path) -> None:
        self.opened.append((job.index, source))
        if job.index in self.refused:
            raise FileError("is another's")

    def lookup(self, request: Request) -> Generation | None:
        text = self.answers.get((request.job, request.prompt))
        return None if text is None else Generation(request, text, (), (), "stop")

    def store(self, answer: Generation) -> None:
        key = answer.request.job, answer.request.prompt
        assert key not in self.answers, "it was requested twice"
        self.answers[key] = answer.text


def recordings(*lengths: int) -> SourceOptions:
    @contextmanager
    def open_audio(path: Path, *, channel: str, track: int | None) -> Iterator[Recording]:
        yield Recording(lengths[int(path.name)])

    return options(open_audio)


def options(open_audio: OpenAudio, **more) -> SourceOptions:
    return SourceOptions([InProcessReader(open_audio, chunk_blocks)], **more)


def jobs(count: int) -> list[Job]:
    return [Job(index, Path(str(index))) for index in range(count)]


def run_jobs(
    sources: SourceOptions, count: int, *, task_for_job=None, backend=None, store=None
) -> list[Event]:
    task = Listing(twice=True)
    backend = backend or ScriptedBackend(lambda request: f"<{request.prompt}>", batch_size=3)
    stream = run_pipeline(
        jobs(count),
        task_for_job or (lambda job: task),
        backend,
        chunk_seconds=1,
        source_options=sources,
        answer_store=store,
    )
    return list(stream)


def texts(events: list[Event]) -> dict[int, str]:
    return {e.job.index: e.result.text for e in events if isinstance(e, FileDone)}


@pytest.mark.parametrize("kept", range(0, 22, 3))
def test_stored_answers_are_not_requested_and_results_are_the_same(kept: int) -> None:
    sources = recordings(5, 0, 3, 1)
    whole = FakeAnswerStore()
    expected = texts(run_jobs(sources, 4, store=whole))
    part = FakeAnswerStore()
    part.answers = dict(list(whole.answers.items())[:kept])
    backend = ScriptedBackend(lambda request: f"<{request.prompt}>", batch_size=3)
    events = run_jobs(sources, 4, backend=backend, store=part)
    # Retries come with their answers, so their order may differ; tasks sort by chunk.
    assert {k: sorted(v.split("|")) for k, v in texts(events).items()} == {
        k: sorted(v.split("|")) for k, v in expected.items()
    }
    asked = {(request.job, request.prompt) for request in backend.requests}
    assert len(backend.requests) == len(whole.answers) - min(kept, len(whole.answers))
    assert not asked & set(list(whole.answers)[:kept])
    assert part.answers == whole.answers
    done = [event for event in events if isinstance(event, ChunkDone)]
    assert sum(event.resumed for event in done) == min(kept, len(whole.answers))


def test_a_recording_that_the_store_refuses_fails_alone() -> None:
    store = FakeAnswerStore()
    store.refused = {1}
    events = run_jobs(recordings(2, 2, 2), 3, store=store)
    [failed] = [event for event in events if isinstance(event, FileFailed)]
    assert (failed.job.index, str(failed.error)) == (1, "is another's")
    assert sorted(texts(events)) == [0, 2]


def test_a_recording_is_fetched_for_as_long_as_it_is_read() -> None:
    held: list[int] = []

    @contextmanager
    def fetch(job: Job) -> Iterator[Path]:
        held.append(job.index)
        yield Path("fetched") / str(job.index)
        held.remove(job.index)

    @contextmanager
    def open_audio(path: Path, *, channel: str, track: int | None) -> Iterator[Recording]:
        assert path.parent.name == "fetched"
        assert held == [int(path.name)]
        yield Recording(2)

    store = FakeAnswerStore()
    events = run_jobs(options(open_audio, fetch=fetch), 2, store=store)
    assert sorted(texts(events)) == [0, 1]
    assert store.opened == [(0, Path("fetched/0")), (1, Path("fetched/1"))]
    assert not held


def test_two_channels_are_two_speakers_of_one_recording() -> None:
    opened: list[tuple[str, int | None]] = []

    @contextmanager
    def open_audio(path: Path, *, channel: str, track: int | None) -> Iterator[Recording]:
        opened.append((channel, track))
        yield Recording({"left": 2, "right": 3}[channel], damage="cut off")

    backend = ScriptedBackend(lambda request: request.prompt)
    sources = options(open_audio, channels="split", track=1)
    [done] = [
        event
        for event in run_jobs(sources, 1, task_for_job=lambda job: Listing(), backend=backend)
        if isinstance(event, FileDone)
    ]
    assert opened == [("left", 1), ("right", 1)]
    assert done.result.text == "say left0|say left1|say right2|say right3|say right4"
    assert done.result.duration == 3 * BLOCK / RATE
    assert done.warnings == ("cut off",)
    chunks = [request.chunk for request in backend.requests]
    assert [chunk.start for chunk in chunks] == [0, 100, 0, 100, 200]
    assert [chunk.speaker for chunk in chunks] == ["left"] * 2 + ["right"] * 3


def test_one_channel_is_no_speaker() -> None:
    @contextmanager
    def open_audio(path: Path, *, channel: str, track: int | None) -> Iterator[Recording]:
        assert channel == "right"
        yield Recording(1)

    events = run_jobs(options(open_audio, channels="right"), 1, task_for_job=lambda job: Listing())
    assert texts(events) == {0: "<say 0>"}


def test_a_recording_may_have_a_task_of_its_own() -> None:
    tasks = [Listing("one"), Listing("two")]
    events = run_jobs(recordings(1, 1), 2, task_for_job=lambda job: tasks[job.index])
    assert texts(events) == {0: "<one 0>", 1: "<two 0>"}


@pytest.mark.parametrize("window", [1, 3])
def test_stopping_finishes_the_running_batch_and_starts_nothing(window: int) -> None:
    asked: list[Request] = []

    def say(request: Request) -> str:
        asked.append(request)
        return request.prompt

    store = FakeAnswerStore()
    backend = ScriptedBackend(say, batch_size=window)
    stopped = False
    found: list[Event] = []
    stream = run_pipeline(
        jobs(50),
        lambda job: Listing(),
        backend,
        chunk_seconds=1,
        source_options=recordings(*[2] * 50),
        answer_store=store,
        should_stop=lambda: stopped,
    )
    for event in stream:
        found.append(event)
        if isinstance(event, ChunkDone):
            stopped = True  # in the middle of a batch
    assert len(asked) == window
    assert len(store.answers) == window, "all of the batch is kept"
    assert len(texts(found)) == window // 2
    assert not any(isinstance(event, FileFailed) for event in found)


def test_stopping_does_not_wait_for_a_recording_without_speech() -> None:
    stopped = False
    blocks_read = 0

    class Endless(Recording):
        def blocks(self) -> Iterator[np.ndarray]:
            nonlocal blocks_read, stopped
            while True:
                blocks_read += 1
                stopped = blocks_read > 5
                assert blocks_read < 50
                yield np.zeros(BLOCK, np.float32)

    @contextmanager
    def open_audio(path: Path, *, channel: str, track: int | None) -> Iterator[Recording]:
        yield Endless(1)

    def silence(blocks, rate: int, limit: float) -> Iterator[Chunk]:
        for _ in blocks:
            pass
        yield from ()

    stream = run_pipeline(
        jobs(2),
        lambda job: Listing(),
        ScriptedBackend(str),
        chunk_seconds=1,
        source_options=SourceOptions([InProcessReader(open_audio, silence)]),
        should_stop=lambda: stopped,
    )
    assert [type(event).__name__ for event in stream] == ["FileStarted"]

"""Messages between driver and workers are small and contain no audio."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from phi4audio_cli.cluster.messages import Notice, pack, unpack
from phi4audio_cli.pipeline.output_writer import RecordingWritten
from phi4audio_cli.types import Chunk, ChunkDone, Generation, Job, Request, Span, Word

JOB = Job(3, Path("talk.wav"), {"txt": Path("out/talk.txt")})


def make_chunk_done(chunk: Chunk | None) -> ChunkDone:
    request = Request(3, chunk, "Write it down.", 64)
    return ChunkDone(JOB, Generation(request, "so", (5, 6), (-0.1, -0.2), "stop"), resumed=True)


def test_a_packed_chunk_keeps_all_but_its_audio() -> None:
    chunk = Chunk(2, np.ones(640_000, np.float32), 16_000, 32_000, speaker="left")
    sent = pickle.dumps(pack(make_chunk_done(chunk)))
    assert len(sent) < 3000
    received = unpack(pickle.loads(sent))
    assert isinstance(received, ChunkDone)
    chunk_back = received.generation.request.chunk
    assert chunk_back is not None
    assert (
        chunk_back.index,
        chunk_back.seconds,
        chunk_back.start_seconds,
        chunk_back.speaker,
    ) == (2, 40, 2, "left")
    assert chunk_back.samples.strides == (0,), "silent samples take no memory"
    assert (received.job, received.resumed) == (JOB, True)
    assert (received.generation.text, received.generation.tokens) == ("so", (5, 6))


def test_words_and_speech_spans_are_not_sent() -> None:
    speech = tuple(Span(start, start + 8000) for start in range(0, 640_000, 16_000))
    request = Request(3, Chunk(0, np.ones(640_000, np.float32), 16_000, 0, speech), "Write.", 64)
    words = tuple(Word("so", 0.4 * number, 0.4 * number + 0.3) for number in range(100))
    done = ChunkDone(JOB, Generation(request, "so " * 100, (), (), "stop", words))
    sent = pickle.dumps(pack(done))
    assert len(sent) < 3000
    received = unpack(pickle.loads(sent))
    assert isinstance(received, ChunkDone)
    assert received.generation.text == "so " * 100
    assert done.generation.words == words, "the worker still has them"


def test_messages_without_audio_are_sent_unchanged() -> None:
    assert unpack(pickle.loads(pickle.dumps(pack(make_chunk_done(None))))).resumed  # type: ignore[union-attr]
    written = RecordingWritten(JOB, "text", 2.5, ("look",), (Path("out/talk.txt"),), is_new=True)
    for message in (written, Notice("a line")):
        assert unpack(pickle.loads(pickle.dumps(pack(message)))) == message

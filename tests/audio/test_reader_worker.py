"""Messages with arrays between processes arrive complete and writable; a closed end is detected."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np
import pytest

from phi4audio_cli.audio import reader_worker
from phi4audio_cli.types import WIDE_BAND, Chunk, Span

Ends = tuple[Connection, Connection]


def no_wait() -> None:
    pass


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(params=[True, False], ids=["direct", "by the connection"])
def _way(request, monkeypatch) -> None:
    if request.param and not reader_worker.DIRECT:
        pytest.skip("this system does not read into arrays")
    monkeypatch.setattr(reader_worker, "DIRECT", request.param)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("length", [0, 1, 1000, 640_000])
def test_a_chunk_arrives_unchanged_and_writable(ends: Ends, length: int) -> None:
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    sent = [Chunk(each, samples, WIDE_BAND, 7, (Span(1, 2),)) for each in range(3)]

    def deliver() -> None:
        for chunk in sent:
            reader_worker.send_message(ends[1], chunk)
            reader_worker.send_message(ends[1], None)

    thread = threading.Thread(target=deliver)
    thread.start()
    for chunk in sent:
        found = reader_worker.receive_message(ends[0], no_wait)
        assert (found.index, found.start, found.speech) == (chunk.index, 7, (Span(1, 2),))
        np.testing.assert_array_equal(found.samples, samples)
        assert found.samples.dtype == np.float32
        assert found.samples.flags.writeable
        assert reader_worker.receive_message(ends[0], no_wait) is None
    thread.join()


def test_an_end_within_an_array_is_detected(ends: Ends) -> None:
    ours, theirs = ends
    theirs.send((b"", [1000]))
    os.write(theirs.fileno(), bytes(10))
    theirs.close()
    with pytest.raises(EOFError):
        reader_worker.receive_message(ours, no_wait)


def test_waiting_for_bytes_may_be_given_up_at_any_place(ends: Ends) -> None:
    ours, theirs = ends
    theirs.send((b"", [1000]))
    os.write(theirs.fileno(), bytes(10))
    patience = iter([True, True])

    def wait() -> None:
        if not next(patience, False):
            raise TimeoutError

    with pytest.raises(TimeoutError):
        reader_worker.receive_message(ours, wait)

"""Readers in subprocesses: a crash fails one recording; results equal in-process reading."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from phi4audio_cli.audio import subprocess_reader
from phi4audio_cli.audio.reader import InProcessReader, ReadRequest
from phi4audio_cli.audio.reader_process import CHECK_MEMORY_REMEDY, START_FAILED
from phi4audio_cli.audio.speech_chunking import chunk_speech
from phi4audio_cli.audio.subprocess_reader import (
    MAX_READERS,
    ReaderProcesses,
    SubprocessReader,
    SubprocessReading,
    reader_count,
)
from phi4audio_cli.audio.vad import SileroDetector
from phi4audio_cli.errors import AudioError

from .audio_files import Array, noise, sine
from .scripted_recordings import (
    BLOCK,
    chunk_per_block,
    chunk_speech_without_torch,
    open_scripted,
    raise_arguments,
)

ROOT = Path(__file__).parents[2]

LIMITED = pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of address space")


@pytest.fixture(scope="module")
def scripted() -> Iterator[SubprocessReader]:
    """Return a reader that tests share: each test must leave it usable."""
    with SubprocessReader(SCRIPTED, hang_timeout=20, memory_limit=1 << 30) as reader:
        yield reader


SCRIPTED = InProcessReader(open_scripted, chunk_per_block)


def read_request(name: str | Path) -> ReadRequest:
    return ReadRequest(Path(name), max_chunk_seconds=10)


def samples(reading: SubprocessReading) -> list[Array]:
    return [chunk.samples for chunk in reading.chunks()]


def blocks(reader: SubprocessReader, name: str) -> list[Array]:
    with reader.read(read_request(name)) as reading:
        return samples(reading)


def read_error(reader: SubprocessReader, name: str) -> AudioError:
    with pytest.raises(AudioError) as caught:
        blocks(reader, name)
    return caught.value


def process_ends(pid: int | None, seconds: float = 20) -> bool:
    """Whether a process ends, and leaves no zombie to its parent."""
    assert pid
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_chunks_equal_those_of_the_in_process_reader(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(path, np.stack([noise(25, 22050), sine(22050, 25)], 1), 22050)
    request = ReadRequest(path, 3.0, channel="left")
    with InProcessReader().read(request) as in_process:
        expected = list(in_process.chunks())
    with SubprocessReader() as reader, reader.read(request) as subprocess_reading:
        assert subprocess_reading.info == in_process.info
        assert subprocess_reading.damage is None
        found = list(subprocess_reading.chunks())
        assert subprocess_reading.damage is None
    assert len(found) > 5
    assert subprocess_reading.seconds == in_process.seconds == 25
    for one, other in zip(found, expected, strict=True):
        assert (one.index, one.start, one.speech) == (other.index, other.start, other.speech)
        np.testing.assert_array_equal(one.samples, other.samples)
        assert one.samples.flags.writeable
        assert one.samples.flags.c_contiguous


def test_damage_and_errors_are_reported(tmp_path: Path) -> None:
    cut, text = tmp_path / "a.flac", tmp_path / "b.wav"
    soundfile.write(cut, noise(10), 16000)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    text.write_text("Dear Sir, this is a letter.\n")
    with SubprocessReader() as reader:
        with reader.read(read_request(cut)) as reading:
            assert sum(map(len, samples(reading))) > 16000 * 3
        assert reading.damage
        error = read_error(reader, str(text))
        assert (error.where, bool(error.remedy)) == (str(text), True)
        assert "no audio" in error.what
        pid = reader.pid
        assert pid
        assert "No such file" in read_error(reader, str(tmp_path / "gone.wav")).what
        assert reader.pid == pid
    assert process_ends(pid)


def test_channel_and_track_reach_the_decoder() -> None:
    with SubprocessReader(InProcessReader(raise_arguments)) as reader:
        with (
            pytest.raises(AudioError, match="right 3"),
            reader.read(ReadRequest(Path("a.wav"), 10, channel="right", track=3)),
        ):
            pass
        assert "mix None" in read_error(reader, "a.wav").what


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("block-segfault.wav", "crashed on it (SIGSEGV)"),
        ("segfault.block.wav", "crashed on it (SIGSEGV)"),
        ("leave.wav", "crashed on it (exit code 3)"),
        pytest.param("block-allocate.wav", "takes too much memory", marks=LIMITED),
        pytest.param("allocate.block.wav", "takes too much memory", marks=LIMITED),
        ("block-fail.wav", "failed with UnicodeDecodeError"),
        ("fail.block.wav", "failed with UnicodeDecodeError"),
    ],
)
def test_a_failure_affects_one_recording_only(
    scripted: SubprocessReader, name: str, problem: str
) -> None:
    error = read_error(scripted, name)
    assert problem in error.what
    assert error.where
    assert error.where.endswith(name)
    assert error.remedy
    assert len(blocks(scripted, "block-block.wav")) == 2


def test_blocks_before_a_crash_are_delivered(scripted: SubprocessReader) -> None:
    with scripted.read(read_request("block-block-segfault.wav")) as reading:
        chunks = reading.chunks()
        first = next(chunks).samples
        assert reading.damage == "block"
        second = next(chunks).samples
        with pytest.raises(AudioError, match="crashed"):
            next(chunks)
    np.testing.assert_array_equal([first, second], np.repeat([[0], [1]], BLOCK, axis=1))


def test_an_audio_error_arrives_unchanged(scripted: SubprocessReader) -> None:
    pid = scripted.pid
    error = read_error(scripted, "block-refuse.wav")
    assert (error.what, error.where, error.remedy) == ("too short", "a.wav", "record more")
    assert scripted.pid == pid or pid is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["block-hang.wav", "hang.block.wav"])
def test_a_hanging_decoder_is_killed(name: str) -> None:
    with SubprocessReader(SCRIPTED, hang_timeout=2) as reader:
        blocks(reader, "block.wav")  # it is running
        pid = reader.pid
        assert "decoding it hangs" in read_error(reader, name).what
        assert process_ends(pid)
        assert reader.pid is None
        assert len(blocks(reader, "block.wav")) == 1


def test_a_cancelled_recording_leaves_the_process_running(scripted: SubprocessReader) -> None:
    blocks(scripted, "block.wav")
    pid = scripted.pid
    for _ in range(3):
        with scripted.read(read_request("block-block-block.wav")) as reading:
            next(reading.chunks())
    with pytest.raises(KeyError), scripted.read(read_request("block.wav")):
        raise KeyError
    assert len(blocks(scripted, "block-block.wav")) == 2
    assert scripted.pid == pid


def test_only_one_recording_can_be_open(scripted: SubprocessReader) -> None:
    with scripted.read(read_request("block-block.wav")) as reading:
        with (
            pytest.raises(RuntimeError, match="one recording"),
            scripted.read(read_request("block.wav")),
        ):
            pass
        assert len(samples(reading)) == 2


def test_a_hang_or_crash_after_cancelling_does_not_affect_the_next_recording(
    scripted: SubprocessReader,
) -> None:
    for name in ("block-block-hang.wav", "block-block-segfault.wav"):
        with scripted.read(read_request(name)) as reading:
            next(reading.chunks())
        assert len(blocks(scripted, "block-block.wav")) == 2


def test_a_process_that_dies_between_recordings_is_replaced(scripted: SubprocessReader) -> None:
    blocks(scripted, "block.wav")
    pid = scripted.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    while scripted.pid is not None:  # it takes a moment to die
        time.sleep(0.01)
    assert len(blocks(scripted, "block.wav")) == 1
    assert scripted.pid != pid


def test_neither_torch_nor_transformers_is_loaded(scripted: SubprocessReader) -> None:
    assert len(blocks(scripted, "torch.wav")) == 1


def test_nothing_is_printed_by_libraries(
    scripted: SubprocessReader, capfd: pytest.CaptureFixture[str]
) -> None:
    blocks(scripted, "chatter.wav")
    with SubprocessReader(SCRIPTED) as reader:  # one that was started while this is captured
        blocks(reader, "chatter-block.wav")
    assert capfd.readouterr() == ("", "")


def test_closing_from_another_thread_ends_a_wait() -> None:
    reader = SubprocessReader(SCRIPTED)
    blocks(reader, "block.wav")
    pid = reader.pid
    timer = threading.Timer(0.3, reader.close)
    timer.start()
    started = time.monotonic()
    assert read_error(reader, "hang.wav")
    assert time.monotonic() - started < 30
    timer.join()
    assert process_ends(pid)
    assert "was cancelled" in read_error(reader, "block.wav").what
    assert reader.pid is None


PROGRAM = """
import signal
import sys
from pathlib import Path
from phi4audio_cli.audio.reader import InProcessReader, ReadRequest
from phi4audio_cli.audio.subprocess_reader import SubprocessReader
from tests.audio.scripted_recordings import chunk_per_block, open_scripted

# A background job of a shell starts with interrupts ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with SubprocessReader(InProcessReader(open_scripted, chunk_per_block)) as reader:
    with reader.read(ReadRequest(Path(sys.argv[1]), 10)) as reading:
        print(reader.pid, flush=True)
        for chunk in reading.chunks():
            sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["block.wav", "hang.wav"])
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT])
def test_the_reader_process_ends_with_its_parent(name: str, death: signal.Signals) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, name],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    with program:
        assert program.stdout
        pid = int(program.stdout.readline())
        assert psutil.pid_exists(pid)
        if death == signal.SIGINT:
            os.killpg(program.pid, death)  # as a terminal does
        else:
            os.kill(program.pid, death)
        _, errors = program.communicate(timeout=60)
    assert process_ends(pid)
    assert errors.count("Traceback") == (1 if death == signal.SIGINT else 0)  # the program's own


def test_a_failed_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    with SubprocessReader() as reader:
        error = read_error(reader, "a.wav")
    assert error.what == f"{START_FAILED}: Resource temporarily unavailable"
    assert error.remedy == CHECK_MEMORY_REMEDY


@pytest.mark.parametrize(
    ("requested", "device", "cores", "count"),
    [
        (3, "cpu", 2, 3),
        ("auto", "cpu", 16, 1),
        ("auto", "mps", 16, 1),
        ("auto", "cuda", 1, 1),
        ("auto", "cuda:1", 4, 3),
        ("auto", "cuda", 64, MAX_READERS),
    ],
)
def test_the_reader_count_follows_device_and_cores(
    requested, device: str, cores: int, count: int, monkeypatch
) -> None:
    monkeypatch.setattr(subprocess_reader, "_cores", lambda: cores)
    assert reader_count(requested, device) == count


@pytest.mark.slow
def test_processes_start_at_first_use_and_end_with_the_context() -> None:
    with ReaderProcesses(InProcessReader(open_scripted, chunk_per_block)) as some:
        three = some.get(3)
        assert [reader.pid is not None for reader in three] == [True, False, False]
        with three[2].read(ReadRequest(Path("block.wav"), 1)) as reading:
            assert len(list(reading.chunks())) == 1
        assert three[2].pid
        assert some.get(2) == three[:2]
    assert not any(reader.pid for reader in three)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jfk.flac", "multilingual.mp3"])
def test_speech_chunks_equal_those_of_the_in_process_reader_without_torch(
    recordings: Path, name: str
) -> None:
    request = ReadRequest(recordings / name, 5.0)
    detector = SileroDetector()
    with InProcessReader(chunker=partial(chunk_speech, detector=detector)).read(
        request
    ) as in_process:
        expected = list(in_process.chunks())
    cut = partial(chunk_speech_without_torch, detector=detector)
    with (
        SubprocessReader(InProcessReader(chunker=cut)) as reader,
        reader.read(request) as subprocess_reading,
    ):
        found = list(subprocess_reading.chunks())
    assert len(found) > 1
    for one, other in zip(found, expected, strict=True):
        assert (one.index, one.start, one.speech) == (other.index, other.start, other.speech)
        np.testing.assert_array_equal(one.samples, other.samples)


def test_keep_pauses_covers_the_whole_recording(recordings: Path) -> None:
    request = ReadRequest(recordings / "jfk.flac", 5.0, keep_pauses=True)
    cut = partial(chunk_speech, detector=SileroDetector())
    with SubprocessReader(InProcessReader(chunker=cut)) as reader, reader.read(request) as reading:
        chunks = list(reading.chunks())
    assert sum(chunk.seconds for chunk in chunks) == reading.seconds


def test_a_process_computes_with_one_thread(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    with (
        SubprocessReader(InProcessReader(open_scripted, chunk_per_block)) as reader,
        reader.read(ReadRequest(Path("alone.wav"), 1)) as reading,
    ):
        assert len(list(reading.chunks())) == 1

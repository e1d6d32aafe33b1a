"""Speed of a job whose outputs are uploaded while the model runs.

    python -m benchmarks.object_store --latency 0.05 --answer 0.05

The object store is in memory, with a delay for each request; the model is a delay for each
recording; journals and outputs are real. Three ways take turns: `folder`; `waiting`, where the
model waits for the uploads; and `meanwhile`, where they run concurrently, as the command does it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from phi4audio_cli import storage
from phi4audio_cli.background import prefetch
from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.locations import Location, RemotePath
from phi4audio_cli.pipeline.output_writer import OutputWriter, write_concurrently
from phi4audio_cli.settings_loader import load_settings
from phi4audio_cli.types import Event, FileDone, Job, Segment, Transcript

FORMATS = ("txt", "json", "srt")
READ_AHEAD = 4
request_latency = 0.0


class SlowStore(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store with a delay per request, under `slow://`."""

    protocol = "slow"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.removeprefix("slow://"))
        return stripped

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: object) -> None:
        """Put a file."""
        time.sleep(request_latency)
        super().pipe_file(path, value, mode, **more)

    def cat_file(self, path: str, *more: object, **most: object) -> bytes:
        """Read a file."""
        time.sleep(request_latency)
        content: bytes = super().cat_file(path, *more, **most)
        return content


def recordings(
    resume_store: ResumeStore, folder: Location, source: Path, count: int
) -> Iterator[Job]:
    """Open the journal of each recording, as the pipeline does while it reads ahead."""
    for index in range(count):
        job = Job(index, source, {form: folder / f"{index}.{form}" for form in FORMATS})
        resume_store.open_recording(job, source)
        yield job


def events(jobs: Iterable[Job], answer: float) -> Iterator[Event]:
    """Finish each recording after `answer` seconds."""
    segment = Segment(0, 0.0, 1.0, "the words of a segment", "chunk")
    for job in jobs:
        time.sleep(answer)
        yield FileDone(job, Transcript(segment.text, None, (segment,), 1.0, "Transcribe."))


def run(way: str, scratch: Path, count: int, answer: float) -> float:
    """Return the seconds of one job."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name) if way == "folder" else RemotePath(f"slow://{Path(name).name}")
        resume_store = ResumeStore(
            lambda job: {"task": "Transcribe"}, lambda job: nullcontext(job.source)
        )
        output_writer = OutputWriter(load_settings({}, environ={}), resume_store)
        began = time.perf_counter()
        ahead = prefetch(recordings(resume_store, folder, scratch / "talk.wav", count), READ_AHEAD)
        done = events(ahead, answer)
        if way == "waiting":
            for event in done:
                output_writer.handle(event)
        else:
            for _ in write_concurrently(done, output_writer):
                pass
        resume_store.close()
        return time.perf_counter() - began


def main() -> None:
    """Measure, and print a table."""
    global request_latency
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds a request takes")
    parser.add_argument("--answer", type=float, default=0.05, help="seconds a recording takes")
    parser.add_argument("--count", type=int, default=50, help="recordings of a job")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    request_latency = options.latency
    fsspec.register_implementation("slow", SlowStore)
    storage.ATOMIC_PUT_SCHEMES |= {"slow"}
    ways = ("folder", "waiting", "meanwhile")
    times: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "talk.wav").write_bytes(b"sound")
        for _ in range(options.rounds):
            for way in ways:
                times[way].append(run(way, scratch, options.count, options.answer))
    base = statistics.median(times["waiting"])
    print(f"{options.count} recordings, {options.answer} s each; {request_latency} s a request")
    for way in ways:
        middle = statistics.median(times[way])
        print(f"{way:10} {middle:6.2f} s  {base / middle:5.2f} times as fast as waiting")


if __name__ == "__main__":
    main()

"""Cost of each recording of a job for the driver and the store: the figures of docs/scale.md.

    python -m benchmarks.scale.driver_cost plan --recordings 100000 1000000
    python -m benchmarks.scale.driver_cost plan --recordings 100000 --files
    python -m benchmarks.scale.driver_cost drive
    python -m benchmarks.scale.driver_cost calls
    python -m benchmarks.scale.driver_cost store
    python -m benchmarks.scale.driver_cost names --recordings 1000000
    OPENBLAS_NUM_THREADS=1 python -m benchmarks.scale.driver_cost read

Times are processor time, which depends less on other programs than wall time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path

from benchmarks import SAMPLES
from benchmarks.scale.recording_lengths import measured_lengths


def plan(options: argparse.Namespace) -> None:
    """Measure the steps before work starts, and the report."""
    from benchmarks.scale import job_planning

    for count in options.recordings:
        with tempfile.TemporaryDirectory() as name:
            manifest = job_planning.write_manifest(Path(name), count, files=options.files)
            found = job_planning.measure(manifest)
        before = found.megabytes["at the start"]
        print(
            f"{count} recordings, {'files' if options.files else 'URLs'}; memory is the process's"
        )
        for step, megabytes in found.megabytes.items():
            each = 1e6 * (megabytes - before) / count
            micro = 1e6 * found.seconds[step] / count
            print(f"{step:26} {found.seconds[step]:7.1f} s {micro:7.1f} us each"
                  f" {megabytes:8.0f} MB {each:7.0f} bytes each")  # fmt: skip
        each = 1e6 * (found.peak - before) / count
        print(f"report: {found.report_bytes / count:.0f} bytes each; "
              f"most memory {found.peak:.0f} MB, {each:.0f} bytes each\n")  # fmt: skip


def drive(options: argparse.Namespace) -> None:
    """Measure the driver's time and bytes per recording and per chunk."""
    from benchmarks.scale.driver_load import measure_driver

    for workers in options.workers:
        one, many = [], []
        for _ in range(options.rounds):
            one.append(measure_driver(max(200, 2 * workers), 1, workers))
            many.append(measure_driver(max(200, 2 * workers), 21, workers))
        short, long = (
            tuple(map(statistics.median, zip(*each, strict=True))) for each in (one, many)
        )
        chunk = (long[0] - short[0]) / 20, (long[1] - short[1]) / 20
        print(f"{workers} workers: a recording {1e6 * (short[0] - chunk[0]):.0f} us and "
              f"{short[1] - chunk[1]:.0f} bytes, a chunk {1e6 * chunk[0]:.0f} us and "
              f"{chunk[1]:.0f} bytes")  # fmt: skip


def calls(options: argparse.Namespace) -> None:
    """Measure calls over Ray, with a number of open calls at a time."""
    from benchmarks.scale.driver_load import measure_calls
    from phi4audio_cli.cluster.ray_cluster import ray_session

    with ray_session("local", cpu_only=True):
        for _ in range(options.rounds):
            for workers in options.workers:
                each_second, seconds = measure_calls(workers, 5)
                print(f"{workers} calls open: {each_second:.0f} a second, "
                      f"{1e6 * seconds:.0f} us of driver time each")  # fmt: skip


def store(options: argparse.Namespace) -> None:
    """Measure requests and bytes of two runs over the bundled samples."""
    from benchmarks.scale import store_requests

    lengths = measured_lengths([SAMPLES])
    more = ["--device", "cpu", "--dtype", "float32", "-f", "txt,json,srt"]
    print(f"{len(lengths)} recordings, {sum(lengths):.0f} s of audio")
    for name in ("first run", "second run"):
        requests, sizes = store_requests.count_store_requests(SAMPLES, more)
        print(f"bucket, {name}: {dict(sorted(requests.items()))}")
    print(f"bytes: {dict(sorted(sizes.items()))}")
    with tempfile.TemporaryDirectory() as folder:
        counts = store_requests.count_file_operations(SAMPLES, Path(folder) / "out", more)
        print(f"folder: {dict(counts)}")


def names(options: argparse.Namespace) -> None:
    """Measure the memory for the names of a folder's journals, as in `jobs.resume.ListingCache`."""
    for count in options.recordings:
        tracemalloc.start()
        held = {f"recording-{number:08}.transcribe.journal" for number in range(count)}
        print(f"{len(held)} names: {tracemalloc.get_traced_memory()[0] / count:.0f} bytes each")
        tracemalloc.stop()


def read(options: argparse.Namespace) -> None:
    """Measure decoding, speech detection and chunking of one recording, in one thread."""
    from functools import partial

    from benchmarks.frontend.looped_recordings import write_recordings
    from phi4audio_cli.audio.reader import InProcessReader, ReadRequest
    from phi4audio_cli.audio.speech_chunking import chunk_speech
    from phi4audio_cli.audio.vad import SileroDetector

    reader = InProcessReader(chunker=partial(chunk_speech, detector=SileroDetector()))
    seconds = 300.0
    with tempfile.TemporaryDirectory() as name:
        for kind, path in write_recordings(Path(name), seconds).items():
            found = []
            for _ in range(options.rounds):
                began = time.process_time()
                with reader.read(ReadRequest(path, 40.0)) as reading:
                    sum(1 for _ in reading.chunks())
                found.append(seconds / (time.process_time() - began))
            print(f"{kind:16} RTFx {statistics.median(found):.0f}"
                  f" ({min(found):.0f} to {max(found):.0f})")  # fmt: skip


COMMANDS = {
    "plan": plan,
    "drive": drive,
    "calls": calls,
    "store": store,
    "names": names,
    "read": read,
}


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measurement", choices=COMMANDS)
    parser.add_argument("--recordings", type=int, nargs="+", default=[100_000])
    parser.add_argument("--files", action="store_true", help="make files, not URLs")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    COMMANDS[options.measurement](options)


if __name__ == "__main__":
    main()

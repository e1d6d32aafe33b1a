"""Decode a damaged file and classify the outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

from phi4audio_cli.audio.reader import ReadRequest
from phi4audio_cli.audio.reader_process import DECODER_CRASHED, DECODER_HANGS
from phi4audio_cli.audio.reader_worker import DECODER_FAILED, OUT_OF_MEMORY
from phi4audio_cli.audio.subprocess_reader import SubprocessReader
from phi4audio_cli.errors import AudioError
from tools.fuzz_audio.mutations import mutate
from tools.fuzz_audio.sample_formats import make_recordings

Outcome = Literal["decoded", "damaged", "refused", "crashed", "hung", "memory", "WRONG"]
"""Intact, with a damage notice, an error, a crash, a hang, out of memory; or a mistake."""

OUTCOMES: tuple[Outcome, ...] = (
    "decoded", "damaged", "refused", "crashed", "hung", "memory", "WRONG",
)  # fmt: skip

ERROR_PREFIXES: dict[str, Outcome] = {
    DECODER_CRASHED: "crashed",
    DECODER_HANGS: "hung",
    OUT_OF_MEMORY: "memory",
    DECODER_FAILED: "WRONG",
}

CHUNK_SECONDS = 10.0

MAX_SECONDS = 3600.0
"""A file of some kilobytes is shorter; beyond this, decoding would never end."""


@dataclass(frozen=True, slots=True)
class DecodeTrial:
    """The outcome for one file."""

    number: int
    original: str
    outcome: Outcome
    reason: str
    """The error or damage notice; empty if there is none."""
    peak: int
    """Peak memory of the decoding process, in bytes."""


def run_trials(
    numbers: range, seed: int, folder: Path, reader: SubprocessReader
) -> Iterator[DecodeTrial]:
    """Make files and decode them; each depends only on the seed and its number."""
    whole = make_recordings(folder)
    names = sorted(whole)
    path = folder / "fuzzed"
    for number in numbers:
        random = np.random.default_rng([seed, number])
        name = names[number % len(names)]
        path.write_bytes(mutate(whole[name], whole[str(random.choice(names))], random))
        outcome, reason = decode(reader, path)
        yield DecodeTrial(number, name, outcome, reason, _peak_memory(reader.pid))


def decode(reader: SubprocessReader, path: Path) -> tuple[Outcome, str]:
    """Decode a file; return the outcome and its reason."""
    try:
        with reader.read(ReadRequest(path, CHUNK_SECONDS)) as reading:
            for chunk in reading.chunks():
                if not np.isfinite(chunk.samples).all():
                    return "WRONG", "samples that are not finite"
                if reading.seconds > MAX_SECONDS:
                    return "WRONG", f"more than {MAX_SECONDS:.0f} s"
    except AudioError as error:
        kinds = (each for start, each in ERROR_PREFIXES.items() if error.what.startswith(start))
        return next(kinds, "refused"), error.what
    except Exception as error:
        return "WRONG", repr(error)
    return ("damaged", reading.damage) if reading.damage else ("decoded", "")


def _peak_memory(pid: int | None) -> int:
    if pid is None:
        return 0
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        return next(
            1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")
        )
    except (OSError, StopIteration):  # the process has ended, or the system isn't Linux
        return psutil.Process(pid).memory_info().rss if psutil.pid_exists(pid) else 0

"""A few hundred damaged files; `python -m tools.fuzz_audio` decodes thousands in the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi4audio_cli.audio.reader import ReadRequest
from phi4audio_cli.audio.subprocess_reader import SubprocessReader
from tools.fuzz_audio.decode_trial import decode, run_trials
from tools.fuzz_audio.sample_formats import make_recordings, recording_seconds

MEMORY = 1 << 30
COUNT = 230


@pytest.fixture(scope="module")
def reader() -> Iterator[SubprocessReader]:
    with SubprocessReader(hang_timeout=60, memory_limit=MEMORY) as reader:
        yield reader


def test_intact_files_decode(reader: SubprocessReader, tmp_path: Path) -> None:
    path = tmp_path / "whole"
    for name, content in make_recordings(tmp_path).items():
        path.write_bytes(content)
        assert decode(reader, path) == ("decoded", ""), name
        with reader.read(ReadRequest(path, 10)) as reading:
            decoded = sum(chunk.seconds for chunk in reading.chunks())
        assert decoded == reading.seconds == pytest.approx(recording_seconds(name), abs=0.15), name


@pytest.mark.slow
def test_damaged_files_give_audio_or_a_clear_error(
    reader: SubprocessReader, tmp_path: Path
) -> None:
    done = list(run_trials(range(COUNT), 1, tmp_path, reader))
    wrong = [(each.number, each.original, each.reason) for each in done if each.outcome == "WRONG"]
    assert not wrong
    assert max(each.peak for each in done) < MEMORY
    outcomes = Counter(each.outcome for each in done)
    assert min(outcomes["decoded"], outcomes["damaged"], outcomes["refused"]) > COUNT // 20

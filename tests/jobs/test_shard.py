"""Shards: each recording in exactly one, balanced, and the same on every machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.shard import DEFAULT_RECORDING_BYTES, Shard, recording_bytes
from phi4audio_cli.types import Job


def jobs_of(sizes: list[int]) -> list[Job]:
    return [Job(index, Path(f"{index}.wav")) for index in range(len(sizes))]


@given(st.lists(st.integers(0, 10**9), max_size=60), st.integers(1, 9))
def test_each_recording_is_in_one_shard_and_shards_differ_by_one_recording_at_most(
    sizes: list[int], count: int
) -> None:
    jobs = jobs_of(sizes)
    size = dict(zip((job.source for job in jobs), sizes, strict=True))
    shards = [
        Shard(number, count).select_jobs(jobs, lambda job: size[job.source])
        for number in range(1, count + 1)
    ]
    assert sorted(job.source for shard in shards for job in shard) == sorted(size)
    loads = [sum(size[job.source] for job in shard) for shard in shards]
    assert max(loads) - min(loads) <= max(sizes, default=0) + len(sizes)
    for shard in shards:
        assert [job.index for job in shard] == list(range(len(shard)))
        assert shard == Shard(shards.index(shard) + 1, count).select_jobs(
            jobs, lambda job: size[job.source]
        )


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "3/", "a/b", "-1/4", "1/0", "", "1/4/2"])
def test_an_invalid_shard_is_rejected(text: str) -> None:
    with pytest.raises(UsageError, match=r"--shard: invalid shard"):
        Shard.parse(text)


def test_a_shard_is_parsed_and_named() -> None:
    assert Shard.parse(" 3/16 ") == Shard(3, 16)
    assert Shard.parse("3/16").name == "3-of-16"


def test_unknown_sizes_are_the_default(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"12345")
    assert recording_bytes(Job(0, tmp_path / "a.wav")) == 5
    assert recording_bytes(Job(0, tmp_path / "gone.wav")) == DEFAULT_RECORDING_BYTES
    assert (
        recording_bytes(Job(0, Path("a.wav"), url="https://host/a.wav")) == DEFAULT_RECORDING_BYTES
    )

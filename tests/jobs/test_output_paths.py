"""Output names are kept apart before anything runs; files appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4audio_cli.errors import ExitCode, OutputError, UsageError
from phi4audio_cli.jobs.input_source import InputSource
from phi4audio_cli.jobs.output_paths import plan_jobs, remove_temporary_files, write_outputs
from phi4audio_cli.types import Job, Metadata, Segment, Transcript

from .input_helpers import file_names, local_source, planned_names, remote_source

RESULT = Transcript("one", None, (Segment(0, 0, 1, "one é", "chunk"),), 1.0, "Transcribe.")
METADATA = Metadata("talk.wav", "demo", "0.1.0")


def test_outputs_lie_beside_their_recordings(tmp_path: Path) -> None:
    assert planned_names(tmp_path, "talk.wav", formats=("txt", "json", "srt", "txt")) == [
        "talk.txt",
        "talk.json",
        "talk.srt",
    ]
    (tmp_path / "x").mkdir()
    assert planned_names(tmp_path, "a.wav", "x/a.wav") == ["a.txt", "x/a.txt"]


def test_outputs_lie_in_a_folder_on_request(tmp_path: Path) -> None:
    assert planned_names(tmp_path, "x/a.wav", "y/b.v2.wav", out="o") == ["o/a.txt", "o/b.v2.txt"]
    assert not (tmp_path / "o").exists()


def test_equal_stems_keep_their_extension(tmp_path: Path) -> None:
    wanted = ["a.mp3.txt", "b.txt", "a.wav.txt"]
    assert planned_names(tmp_path, "a.mp3", "b.wav", "a.wav") == wanted
    assert planned_names(tmp_path, "a.mp3", "b.wav", "a.wav", out="o") == [
        f"o/{name}" for name in wanted
    ]
    assert planned_names(tmp_path, "a.mp3", "A.wav") == ["a.mp3.txt", "A.wav.txt"]


def test_a_name_that_looks_like_a_kept_one_is_kept_apart(tmp_path: Path) -> None:
    assert planned_names(tmp_path, "a.mp3", "a.wav", "a.mp3.wav") == [
        "a.mp3.txt",
        "a.wav.txt",
        "a.mp3.wav.txt",
    ]


def test_equal_names_of_several_folders_mirror_the_tree(tmp_path: Path) -> None:
    assert planned_names(
        tmp_path, "p/x/a.wav", "p/y/z/a.wav", "p/y/b.wav", "p/x/a.mp3", out="o"
    ) == [
        "o/x/a.wav.txt",
        "o/y/z/a.txt",
        "o/y/b.txt",
        "o/x/a.mp3.txt",
    ]


def test_no_recording_is_overwritten(tmp_path: Path) -> None:
    assert planned_names(tmp_path, "talk.txt") == ["talk.txt.txt"]
    assert planned_names(tmp_path, "talk.wav", "talk.txt", out=".") == [
        "talk.wav.txt",
        "talk.txt.txt",
    ]
    with pytest.raises(UsageError, match="overwrite the recording"):
        planned_names(tmp_path, "talk.wav", "talk.txt", "talk.wav.txt")


def test_a_recording_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the output of"):
        planned_names(tmp_path, "a.wav", "a.wav")


def test_a_folder_reached_by_two_names_is_one(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").symlink_to(tmp_path / "x")
    assert planned_names(tmp_path, "x/a.wav", "y/a.mp3") == ["x/a.wav.txt", "y/a.mp3.txt"]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean json"):
        planned_names(tmp_path, "a.wav", formats=("jason",))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "x/", "y/", "x/y/"]),
            st.sampled_from("aAb"),
            st.sampled_from(["", ".wav", ".mp3", ".txt", ".txt.wav", ".wav.mp3", ".json"]),
        ).map("".join),
        unique=True,
        min_size=1,
    ),
    st.booleans(),
)
def test_all_outputs_differ_and_none_is_an_input(sources: list[str], beside: bool) -> None:
    root = Path("/nowhere")
    inputs = [root / each for each in sources]
    try:
        jobs = _plan([local_source(each) for each in inputs], None if beside else root)
    except UsageError:
        return
    outputs = [path for job in jobs for path in job.outputs.values()]
    assert len(outputs) == 2 * len(sources)
    assert len({str(path) for path in outputs}) == len(outputs)
    assert not {str(path) for path in outputs} & {str(path) for path in inputs}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["file", "found", "url"]),
            st.sampled_from(["", "x/", "y/", "x/y/"]),
            st.sampled_from(["a", "A", "b", "c" * 252]),
            st.sampled_from(["", ".wav", ".txt", "?id=1", "?id=2"]),
        ),
        unique=True,
        min_size=1,
    ),
    st.booleans(),
)
def test_they_differ_wherever_recordings_come_from(
    sources: list[tuple[str, str, str, str]], beside: bool
) -> None:
    inputs = [_source(Path("/nowhere"), *each) for each in sources]
    try:
        jobs = _plan(inputs, None if beside else Path("/nowhere/o"))
    except UsageError:
        return
    outputs = [str(path.absolute()) for job in jobs for path in job.outputs.values()]
    assert len(set(outputs)) == len(outputs) == 2 * len(sources)
    assert not set(outputs) & {str(each.path) for each in inputs if not each.url}
    assert all(len(part) <= 255 for output in outputs for part in Path(output).parts)


def _source(root: Path, kind: str, folder: str, stem: str, end: str) -> InputSource:
    if kind == "url":
        return remote_source(f"https://x.org/{folder}{stem}{end}")
    path = root / f"{folder}{stem}{end}"
    return local_source(path, root) if kind == "found" else local_source(path)


def _plan(inputs: list[InputSource], output_dir: Path | None) -> list[Job]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("phi4audio_cli.jobs.output_paths._check_writable_folder", lambda folder: None)
        return plan_jobs(inputs, ["txt", "json"], output_dir)


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    script = (
        "import os, sys, pathlib; from phi4audio_cli.jobs import store; "
        "os.fsync = lambda number: os._exit(9); "
        "store.write(pathlib.Path(sys.argv[1]), b'x')"
    )
    killed = [sys.executable, "-c", script, str(job.outputs["txt"])]
    assert subprocess.run(killed, check=False).returncode == 9
    folder = job.outputs["txt"].parent
    others = [".phi4audio-notes.tmp", "talk.tmp", ".phi4audio-0123456789abcdef.tmp.txt"]
    for name in others:
        (folder / name).write_text("mine")
    assert len(file_names(folder)) == 4
    removed = remove_temporary_files([folder, tmp_path / "gone"])
    assert [path.parent for path in removed] == [folder]
    assert file_names(folder) == sorted(others)


def test_a_folder_that_can_t_be_is_found_early(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="folder"):
        planned_names(tmp_path, "a.wav", out="file/sub")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_is_found_early(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="can't be written"):
        planned_names(tmp_path, "a.wav", out="locked/sub")


def make_job(folder: Path) -> Job:
    return plan_jobs([local_source(folder / "talk.wav")], ["txt", "json"], folder / "o" / "deep")[0]


def test_outputs_are_written(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    write_outputs(job, RESULT, METADATA)
    write_outputs(job, RESULT, METADATA)
    assert job.outputs["txt"].read_bytes() == "one é\n".encode()
    assert json.loads(job.outputs["json"].read_text("utf-8"))["text"] == "one"
    assert file_names(tmp_path / "o/deep") == ["talk.json", "talk.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert job.outputs["txt"].stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_name_that_is_no_utf_8_is_written(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    write_outputs(job, RESULT, Metadata(os.fsdecode(b"caf\xe9.wav"), "demo", "0.1.0"))
    document = json.loads(job.outputs["json"].read_text("utf-8"))
    assert os.fsencode(document["source"]) == b"caf\xe9.wav"


def fail(number: int) -> Callable[..., NoReturn]:
    def raise_it(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return raise_it


@pytest.mark.parametrize("function", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
def test_a_failure_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    job = make_job(tmp_path)
    job.outputs["txt"].parent.mkdir(parents=True)
    job.outputs["txt"].write_text("the old one")
    with monkeypatch.context() as patch:
        patch.setattr(function, fail(errno.ENOSPC))
        with pytest.raises(OutputError, match="No space") as caught:
            write_outputs(job, RESULT, METADATA)
    assert caught.value.exit_code == ExitCode.OUTPUT
    assert caught.value.where == str(job.outputs["txt"])
    assert file_names(tmp_path / "o/deep") == ["talk.txt"]
    assert job.outputs["txt"].read_text() == "the old one"

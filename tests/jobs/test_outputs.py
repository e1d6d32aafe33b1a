"""Output names are kept apart before anything runs; files appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4audio_cli.errors import ExitCode, OutputError, UsageError
from phi4audio_cli.jobs.inputs import STDIN, Input, split_url
from phi4audio_cli.jobs.outputs import clean_leftovers, plan_jobs, write_outputs
from phi4audio_cli.types import Job, Metadata, Segment, Transcript

RESULT = Transcript("one", None, (Segment(0, 0, 1, "one é", "chunk"),), 1.0, "Transcribe.")
METADATA = Metadata("talk.wav", "demo", "0.1.0")


def local(path: Path, root: Path | None = None) -> Input:
    return Input(path, path.name, root=root)


def names(
    root: Path, *sources: str, out: str | None = None, formats: tuple[str, ...] = ("txt",)
) -> list[str]:
    inputs = [local(root / each) for each in sources]
    jobs = plan_jobs(inputs, formats, root / out if out else None)
    assert [job.source for job in jobs] == [root / each for each in sources]
    assert [job.index for job in jobs] == list(range(len(jobs)))
    return [str(path.relative_to(root)) for job in jobs for path in job.outputs.values()]


def test_outputs_lie_beside_their_recordings(tmp_path: Path) -> None:
    assert names(tmp_path, "talk.wav", formats=("txt", "json", "srt", "txt")) == [
        "talk.txt",
        "talk.json",
        "talk.srt",
    ]
    (tmp_path / "x").mkdir()
    assert names(tmp_path, "a.wav", "x/a.wav") == ["a.txt", "x/a.txt"]


def test_outputs_lie_in_a_folder_on_request(tmp_path: Path) -> None:
    assert names(tmp_path, "x/a.wav", "y/b.v2.wav", out="o") == ["o/a.txt", "o/b.v2.txt"]
    assert not (tmp_path / "o").exists()


def test_equal_stems_keep_their_extension(tmp_path: Path) -> None:
    wanted = ["a.mp3.txt", "b.txt", "a.wav.txt"]
    assert names(tmp_path, "a.mp3", "b.wav", "a.wav") == wanted
    assert names(tmp_path, "a.mp3", "b.wav", "a.wav", out="o") == [f"o/{name}" for name in wanted]
    assert names(tmp_path, "a.mp3", "A.wav") == ["a.mp3.txt", "A.wav.txt"]


def test_a_name_that_looks_like_a_kept_one_is_kept_apart(tmp_path: Path) -> None:
    assert names(tmp_path, "a.mp3", "a.wav", "a.mp3.wav") == [
        "a.mp3.txt",
        "a.wav.txt",
        "a.mp3.wav.txt",
    ]


def test_equal_names_of_several_folders_mirror_the_tree(tmp_path: Path) -> None:
    assert names(tmp_path, "p/x/a.wav", "p/y/z/a.wav", "p/y/b.wav", "p/x/a.mp3", out="o") == [
        "o/x/a.wav.txt",
        "o/y/z/a.txt",
        "o/y/b.txt",
        "o/x/a.mp3.txt",
    ]


def test_no_recording_is_overwritten(tmp_path: Path) -> None:
    assert names(tmp_path, "talk.txt") == ["talk.txt.txt"]
    assert names(tmp_path, "talk.wav", "talk.txt", out=".") == ["talk.wav.txt", "talk.txt.txt"]
    with pytest.raises(UsageError, match="overwrite the recording"):
        names(tmp_path, "talk.wav", "talk.txt", "talk.wav.txt")


def test_a_recording_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the output of"):
        names(tmp_path, "a.wav", "a.wav")


def test_a_folder_reached_by_two_names_is_one(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").symlink_to(tmp_path / "x")
    assert names(tmp_path, "x/a.wav", "y/a.mp3") == ["x/a.wav.txt", "y/a.mp3.txt"]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean json"):
        names(tmp_path, "a.wav", formats=("jason",))


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
        jobs = _plan([local(each) for each in inputs], None if beside else root)
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


def _source(root: Path, kind: str, folder: str, stem: str, end: str) -> Input:
    if kind == "url":
        return remote(f"https://x.org/{folder}{stem}{end}")
    path = root / f"{folder}{stem}{end}"
    return local(path, root) if kind == "found" else local(path)


def _plan(inputs: list[Input], output_dir: Path | None) -> list[Job]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("phi4audio_cli.jobs.outputs._check_folder", lambda folder: None)
        return plan_jobs(inputs, ["txt", "json"], output_dir)


def planned(inputs: list[Input], out: Path | None = None, template: str | None = None) -> list[str]:
    """The names of the txt outputs, by the output folder where there is one."""
    jobs = plan_jobs(inputs, ["txt"], out, template)
    paths = [job.outputs["txt"] for job in jobs]
    return [str(path.relative_to(out)) if out else str(path) for path in paths]


def remote(url: str) -> Input:
    name = split_url(url)[1]
    return Input(Path(name), name, url=url)


class TestTrees:
    def test_the_tree_below_the_named_folder_is_mirrored_where_names_meet(
        self, tmp_path: Path
    ) -> None:
        inputs = [local(tmp_path / "calls/mon" / name, tmp_path / "calls") for name in
                  ("x/a.wav", "y/a.wav")]  # fmt: skip
        assert planned(inputs, tmp_path / "o") == ["mon/x/a.txt", "mon/y/a.txt"]

    def test_two_named_folders_are_kept_apart(self, tmp_path: Path) -> None:
        inputs = [local(tmp_path / each / "a.wav", tmp_path / each) for each in ("jan", "feb")]
        assert planned(inputs, tmp_path / "o") == ["jan/a.txt", "feb/a.txt"]

    def test_a_named_folder_that_is_a_link_keeps_its_tree(self, tmp_path: Path) -> None:
        (tmp_path / "far/x").mkdir(parents=True)
        (tmp_path / "y").mkdir()
        (tmp_path / "far/y").symlink_to(tmp_path / "y")
        inputs = [
            local(tmp_path / "far" / name, tmp_path / "far") for name in ("x/a.wav", "y/a.wav")
        ]
        assert planned(inputs, tmp_path / "o") == ["x/a.txt", "y/a.txt"]

    def test_relative_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        inputs = [local(Path(name), Path("../calls")) for name in
                  ("../calls/a.wav", "../calls/x/a.wav")]  # fmt: skip
        assert planned(inputs, tmp_path / "o") == ["a.txt", "x/a.txt"]
        assert planned([local(Path("a.wav")), local(Path("x/a.wav"))], Path("o")) == [
            "a.txt",
            "x/a.txt",
        ]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
class TestFetched:
    def test_what_is_fetched_goes_to_the_current_folder(self) -> None:
        inputs = [remote("https://x.org/a/talk.mp3"), Input(Path("stdin"), "stdin", url=STDIN)]
        assert planned(inputs) == ["talk.txt", "stdin.txt"]
        assert planned(inputs, Path("o")) == ["talk.txt", "stdin.txt"]

    def test_the_job_says_where_it_is_fetched_from_and_what_is_spoken(self) -> None:
        job = plan_jobs([replace(remote("s3://a/b.mp3"), language="French")], ["txt"], None)[0]
        assert (job.url, job.language, job.source) == ("s3://a/b.mp3", "French", Path("b.mp3"))

    def test_equal_names_mirror_hosts_and_folders(self, here: Path) -> None:
        urls = ["https://x.org/a/talk.mp3", "https://x.org/b/talk.mp3", "s3://y/a/talk.wav"]
        inputs = [*map(remote, urls), local(here / "calls/talk.mp3")]
        assert planned(inputs) == [
            "x.org/a/talk.txt",
            "x.org/b/talk.txt",
            "y/a/talk.txt",
            str(here / "calls/talk.txt"),
        ]

    def test_queries_are_kept_apart_by_a_hash(self) -> None:
        first, second = planned([remote(f"https://x.org/get?id={number}") for number in (1, 2)])
        assert first != second
        assert first.startswith("get~")
        assert planned([remote("https://x.org/get?id=1")]) == ["get.txt"]

    def test_a_recording_here_is_not_overwritten(self, here: Path) -> None:
        inputs = [
            remote("https://x.org/talk.mp3"),
            local(Path("talk.wav")),
            local(Path("talk.txt")),
        ]
        assert planned(inputs) == ["talk.mp3.txt", "talk.wav.txt", "talk.txt.txt"]


class TestLongNames:
    @pytest.mark.parametrize("letter", ["x", "é", "\U0001f3a4", "\udce9"])
    def test_they_are_cut_and_stay_apart_and_the_same(self, tmp_path: Path, letter: str) -> None:
        size = len(os.fsencode(letter))
        names = [letter * (250 // size) + end for end in (".wav", ".mp3")]
        first, second = plan_jobs([local(tmp_path / name) for name in names], ["txt", "json"], None)
        assert plan_jobs([local(tmp_path / names[0])], ["txt", "json"], None)[0].outputs.keys()
        for job in (first, second):
            for path in job.outputs.values():
                assert len(os.fsencode(path.name)) <= 255
                path.write_text("x")
            assert len({path.stem for path in job.outputs.values()}) == 1
        assert len(listing(tmp_path)) == 4
        again = plan_jobs([local(tmp_path / name) for name in names], ["txt", "json"], None)
        assert [job.outputs for job in again] == [first.outputs, second.outputs]

    def test_those_that_just_fit_are_kept(self, tmp_path: Path) -> None:
        assert names(tmp_path, "x" * 251 + ".wav") == ["x" * 251 + ".txt"]
        [cut] = names(tmp_path, "x" * 252)
        assert re.fullmatch(r"x{242}~[0-9a-f]{8}\.txt", cut)

    def test_a_template_is_cut_too(self, tmp_path: Path) -> None:
        template = "{parent}/{name} and {stem}/{stem} and so on.{format}"
        long = local(tmp_path / ("y" * 250) / ("x" * 240 + ".wav"), tmp_path)
        [path] = planned([long], tmp_path / "o", template)
        folder, name = path.split("/", 1)
        assert (len(folder), name.count("/")) == (250, 1)
        assert all(len(part) <= 255 for part in path.split("/"))
        assert path.endswith(".txt")


class TestTemplates:
    def fill(self, template: str, out: str | None = "o", formats: tuple[str, ...] = ("txt",)):
        inputs = [
            local(Path("calls/mon/talk.mp3"), Path("calls")),
            local(Path("far/one.two.wav")),
            remote("https://x.org/a/b/talk.mp3"),
        ]
        jobs = plan_jobs(inputs, formats, Path(out) if out else None, template)
        return [str(path) for job in jobs for path in job.outputs.values()]

    def test_fields(self, here: Path) -> None:
        assert self.fill("{parent}/{stem}.{format}") == [
            "o/mon/talk.txt", "o/one.two.txt", "o/x.org/a/b/talk.txt",
        ]  # fmt: skip
        assert self.fill("{index:03}-{name}-{ext}/{{x}}.{format}") == [
            "o/001-talk.mp3-mp3/{x}.txt",
            "o/002-one.two.wav-wav/{x}.txt",
            "o/003-talk.mp3-mp3/{x}.txt",
        ]

    def test_without_a_folder_it_counts_from_what_was_named(self, here: Path) -> None:
        assert self.fill("{parent}/out/{stem}.{format}", out=None) == [
            "calls/mon/out/talk.txt", "far/out/one.two.txt", "x.org/a/b/out/talk.txt",
        ]  # fmt: skip

    def test_languages_stand_in_the_format_or_by_themselves(self, here: Path) -> None:
        formats = ("fr.srt", "de.srt")
        assert self.fill("{index}.{format}", formats=formats)[:2] == ["o/1.fr.srt", "o/1.de.srt"]
        assert self.fill("{language}/{index}.{format}", formats=formats)[:2] == [
            "o/fr/1.srt",
            "o/de/1.srt",
        ]

    @pytest.mark.parametrize(
        ("template", "message"),
        [
            ("{stem}.txt", "lacks {format}"),
            ("{stam}.{format}", "did you mean {stem}"),
            ("{}.{format}", "known are stem"),
            ("{stem.__class__}.{format}", "no field"),
            ("{stem[0]}.{format}", "no field"),
            ("{index:{stem}}.{format}", "inside a field"),
            ("{stem.{format}", "--output-template"),
            ("{stem:d}.{format}", "can't be filled in"),
            ("../{stem}.{format}", "out of the output folder"),
            ("{parent}/x/../../{stem}.{format}", "out of the output folder"),
            ("{stem}\0.{format}", "no name can hold"),
            ("/{stem}.{format}", "out of the output folder"),
            ("{stem}.{format}", "would overwrite the output of another"),
        ],
    )
    def test_what_can_t_be_is_refused(self, here: Path, template: str, message: str) -> None:
        with pytest.raises(UsageError, match=re.escape(message)) as caught:
            self.fill(template)
        assert caught.value.remedy

    def test_names_that_differ_in_case_only_are_refused(self, here: Path) -> None:
        inputs = [local(Path("x/A.wav")), local(Path("y/a.wav"))]
        with pytest.raises(UsageError, match=r"add \{parent\}"):
            planned(inputs, Path("o"), "{stem}.{format}")

    def test_no_recording_is_overwritten(self, here: Path) -> None:
        with pytest.raises(UsageError, match="overwrite the recording"):
            planned([local(Path("talk.txt"))], None, "{stem}.{format}")


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    script = (
        "import os, sys, pathlib; from phi4audio_cli.jobs import outputs; "
        "os.fsync = lambda number: os._exit(9); "
        "outputs.write_atomically(pathlib.Path(sys.argv[1]), 'x')"
    )
    killed = [sys.executable, "-c", script, str(job.outputs["txt"])]
    assert subprocess.run(killed, check=False).returncode == 9
    folder = job.outputs["txt"].parent
    others = [".phi4audio-notes.tmp", "talk.tmp", ".phi4audio-0123456789abcdef.tmp.txt"]
    for name in others:
        (folder / name).write_text("mine")
    assert len(listing(folder)) == 4
    removed = clean_leftovers([folder, tmp_path / "gone"])
    assert [path.parent for path in removed] == [folder]
    assert listing(folder) == sorted(others)


def test_a_folder_that_can_t_be_is_found_early(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="folder"):
        names(tmp_path, "a.wav", out="file/sub")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_is_found_early(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="can't be written"):
        names(tmp_path, "a.wav", out="locked/sub")


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_job(folder: Path) -> Job:
    return plan_jobs([local(folder / "talk.wav")], ["txt", "json"], folder / "o" / "deep")[0]


def test_outputs_are_written(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    write_outputs(job, RESULT, METADATA)
    write_outputs(job, RESULT, METADATA)
    assert job.outputs["txt"].read_bytes() == "one é\n".encode()
    assert json.loads(job.outputs["json"].read_text("utf-8"))["text"] == "one"
    assert listing(tmp_path / "o/deep") == ["talk.json", "talk.txt"]
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
    assert listing(tmp_path / "o/deep") == ["talk.txt"]
    assert job.outputs["txt"].read_text() == "the old one"

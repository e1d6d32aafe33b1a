"""The transcribe command from its arguments to its files, with a scripted model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from phi4audio_cli.cli.app import main
from phi4audio_cli.pipeline.backend import ScriptedBackend, ShouldStop
from phi4audio_cli.types import Generation, Request
from tests.factories import write_tone


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def backend(use_backend) -> ScriptedBackend:
    """Answers with the length of the chunk, in samples, in reversed order."""
    scripted = ScriptedBackend(
        lambda request: f"{len(request.chunk.samples)} samples", batch_size=None
    )
    use_backend(scripted)
    return scripted


def transcribe(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["transcribe", *map(str, arguments)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_transcripts_go_to_stdout_in_input_order_and_into_files(backend, capsys) -> None:
    for name, seconds in (("b.wav", 1.0), ("a.wav", 2.0), ("c.wav", 0.5)):
        write_tone(Path(name), seconds)
    assert transcribe("b.wav", "a.wav", "c.wav") == 0
    captured = capsys.readouterr()
    assert captured.out == "16000 samples\n32000 samples\n8000 samples\n"
    assert Path("a.txt").read_text(encoding="utf-8").strip() == "32000 samples"
    assert json.loads(Path("b.json").read_text(encoding="utf-8"))["source"] == "b.wav"
    assert Path("c.srt").read_text(encoding="utf-8").startswith("1\n00:00:00,000 --> ")
    assert captured.err.splitlines()[-1].startswith("phi4audio: 3 of 3 done: ")


def test_options_reach_the_task_and_the_files(backend, capsys) -> None:
    write_tone(Path("talk.wav"), 3.0)
    code = transcribe(
        "talk.wav", "-o", "out", "-f", "json", "--language", "fr-CA", "--chunk-seconds", "1",
        "--model", "some/model",
    )  # fmt: skip
    assert code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        ".phi4audio", "report.json", "talk.json",
    ]  # fmt: skip
    written = json.loads(Path("out/talk.json").read_text(encoding="utf-8"))
    assert written["model"] == "some/model"
    assert written["language"] in ("French", "fr")
    assert len(backend.requests) >= 3
    assert {request.prompt for request in backend.requests} == {
        "Transcribe the French audio clip into text."
    }


def test_a_bad_recording_does_not_stop_the_others(backend, capsys) -> None:
    write_tone(Path("good.wav"))
    Path("[bold]bad.wav").write_text("no audio at all", encoding="utf-8")
    assert transcribe("[bold]bad.wav", "good.wav") == 10
    captured = capsys.readouterr()
    assert captured.out == "16000 samples\n"
    assert "phi4audio: [bold]bad.wav: " in captured.err
    assert not Path("[bold]bad.txt").exists()
    assert Path("good.txt").exists()


def test_a_missing_input_is_reported_and_the_others_are_done(backend, capsys) -> None:
    write_tone(Path("good.wav"))
    assert transcribe("goood.wav", "good.wav") == 2
    captured = capsys.readouterr()
    assert "phi4audio: goood.wav: no such file (did you mean good.wav?)" in captured.err
    assert captured.out == "16000 samples\n"


def test_exit_code_of_a_failure_takes_precedence_over_a_missing_input(backend) -> None:
    Path("bad.wav").write_text("no audio at all", encoding="utf-8")
    assert transcribe("missing.wav", "bad.wav") == 10


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.wav"], "missing.wav: no such file"),
        (["talk.wav", "-f", "docx"], "no such output format"),
        (["talk.wav", "--chunk-seconds", "60"], "--chunk-seconds: invalid value 60.0"),
        (["talk.wav", "--config", "gpu-7gb"], "did you mean gpu-8gb?"),
        (["talk.wav", "--language", "Frensh"], "French"),
        (["talk.wav", "--batch-size", "0"], "--batch-size: invalid value '0'"),
    ],
)
def test_invalid_arguments_fail_before_a_model_is_loaded(arguments, message, capsys) -> None:
    write_tone(Path("talk.wav"))
    assert transcribe(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_an_unwritable_output_is_exit_4_and_the_text_is_printed(backend, capsys) -> None:
    write_tone(Path("talk.wav"))
    write_tone(Path("other.wav"), 2.0)
    Path("talk.srt").mkdir()
    assert transcribe("talk.wav", "other.wav") == 4
    captured = capsys.readouterr()
    assert captured.out == "16000 samples\n32000 samples\n"
    assert "talk.srt" in captured.err
    assert Path("other.srt").is_file()


def test_quiet_prints_problems_only(backend, capsys) -> None:
    write_tone(Path("talk.wav"))
    assert transcribe("talk.wav", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_verbose_shows_settings_prompt_and_chunks(backend, capsys) -> None:
    write_tone(Path("talk.wav"))
    assert transcribe("talk.wav", "--verbose") == 0
    err = capsys.readouterr().err
    assert "chunk_seconds=40" in err
    assert "Transcribe the audio clip into text." in err
    assert "talk.wav 0:00-0:01: 16000 samples" in err


def test_a_missing_model_is_exit_3(capsys) -> None:
    write_tone(Path("talk.wav"))
    assert transcribe("talk.wav", "--quiet", "--model", "some/model", "--offline") == 3
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("phi4audio: some/model: isn't on this machine, and --offline is on (")


def test_an_exception_of_the_network_before_any_answer_is_exit_1(use_backend, capsys) -> None:
    class Broken(ScriptedBackend):
        def generate(
            self, requests: Iterable[Request | None], should_stop: ShouldStop
        ) -> Iterator[Generation]:
            next(iter(requests))
            raise TypeError("forward() got an unexpected argument")
            yield

    use_backend(Broken(str))
    for name in ("a.wav", "b.wav"):
        write_tone(Path(name))
    assert transcribe("a.wav", "b.wav", "--quiet") == 1
    lines = capsys.readouterr().err.splitlines()
    [line] = [each for each in lines if "TypeError: forward() got an unexpected argument" in each]
    assert "this is a bug" in line
    assert "--verbose" in line


def test_an_interrupt_keeps_finished_recordings(use_backend, capsys) -> None:
    class Interrupted(ScriptedBackend):
        def generate(
            self, requests: Iterable[Request | None], should_stop: ShouldStop
        ) -> Iterator[Generation]:
            answers = super().generate(requests, should_stop)
            yield next(answers)
            yield next(answers)
            raise KeyboardInterrupt

    scripted = Interrupted(lambda request: "hello")
    use_backend(scripted)
    for name in ("a.wav", "b.wav", "c.wav"):
        write_tone(Path(name))
    assert transcribe("a.wav", "b.wav", "c.wav") == 130
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("phi4audio: interrupted")
    assert Path("a.txt").is_file()
    assert not Path("c.txt").exists()


def test_settings_come_from_the_environment_too(backend, monkeypatch) -> None:
    monkeypatch.setenv("PHI4AUDIO_FORMATS", "txt")
    monkeypatch.setenv("PHI4AUDIO_OUTPUT_DIR", "there")
    write_tone(Path("talk.wav"))
    assert transcribe("talk.wav") == 0
    assert [path.name for path in Path("there").glob("talk.*")] == ["talk.txt"]

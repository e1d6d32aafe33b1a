"""eval from its arguments to its report, with a scripted model and without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi4audio_cli.cli.app import main
from phi4audio_cli.pipeline.backend import ScriptedBackend
from tests.factories import write_tone

ANSWERS = {16_000: "one two", 32_000: "one too three", 48_000: "un deux"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHI4AUDIO_VAD", "false")  # tones are not speech
    return tmp_path


@pytest.fixture
def backend(use_backend) -> ScriptedBackend:
    scripted = ScriptedBackend(lambda request: ANSWERS[len(request.chunk.samples)], batch_size=None)
    use_backend(scripted)
    return scripted


def phi4audio(*arguments: str) -> int:
    try:
        main(["eval", *arguments])
    except SystemExit as done:
        return int(done.code or 0)


def recording(name: str, seconds: float, reference: str) -> None:
    write_tone(Path(f"{name}.wav"), seconds)
    Path(f"{name}.ref.txt").write_text(reference, encoding="utf-8")


def test_the_report_names_rates_normaliser_and_the_worst_file_first(backend, capsys) -> None:
    recording("good", 1.0, "One two.")
    recording("bad", 2.0, "one two three")
    assert phi4audio("good.wav", "bad.wav") == 0
    out = capsys.readouterr().out
    first, *_ = out.splitlines()
    assert first.startswith("2 files, 0:03 of audio, RTFx ")
    assert "WER 60.0 %" in out  # 3 of 5 words as they are
    assert "WER 20.0 %" in out
    assert "phi4audio-basic 1" in out
    assert out.index("bad.wav: WER 33.3 %") < out.index("good.wav: WER 0.0 %")
    assert "one [-two-] {+too+} three" in out
    assert not list(Path().glob("*.json"))


def test_a_manifest_of_translations_and_json(backend, capsys) -> None:
    write_tone(Path("talk.wav"), 3.0)
    Path("m.jsonl").write_text('{"audio": "talk.wav", "translation": "un deux"}', encoding="utf-8")
    assert phi4audio("m.jsonl", "--task", "translate", "--lang", "French", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["total"]["chrf"] == 100
    assert report["total"]["bleu_signature"].startswith("nrefs:1|")
    assert report["files"][0]["source"] == "talk.wav"
    assert report["rtfx"] > 0
    assert backend.requests[0].prompt == "Translate the audio to French."


def test_a_failed_recording_is_reported_and_the_others_are_scored(backend, capsys) -> None:
    recording("good", 1.0, "one two")
    Path("bad.wav").write_text("no audio", encoding="utf-8")
    Path("bad.ref.txt").write_text("x", encoding="utf-8")
    assert phi4audio("bad.wav", "good.wav") == 10
    captured = capsys.readouterr()
    assert "bad.wav: " in captured.err
    assert captured.out.startswith("1 files")


@pytest.mark.usefixtures("no_model")
def test_finished_transcripts_are_scored_without_the_model(capsys) -> None:
    for name, text in (("a", "one two"), ("b", "one")):
        entries = {"source": f"{name}.wav", "task": "transcribe", "text": text, "duration": 2.0}
        Path(f"{name}.json").write_text(json.dumps(entries), encoding="utf-8")
        Path(f"{name}.ref.txt").write_text("one two", encoding="utf-8")
    assert phi4audio("--from", "a.json", "b.json") == 0
    out = capsys.readouterr().out
    assert out.startswith("2 files, 0:04 of audio\n")
    assert "4 words: 0 substitutions, 1 deletions, 0 insertions" in out
    assert "one [-two-]" in out


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["talk.wav"], "no reference: talk.ref.txt"),
        (["talk.wav", "--lang", "fr"], "is for translations"),
        (["talk.wav", "--task", "translate"], "needs a language"),
        (["m.jsonl"], "gone.wav: no such file"),
        (["missing.wav"], "missing.wav: no such file"),
        (["--from", "a.json", "b.json"], "can't be scored together"),
        (["--from", "m.jsonl"], "not a transcript of phi4audio"),
    ],
)
def test_invalid_arguments_fail_before_a_model_is_loaded(arguments, message, capsys) -> None:
    write_tone(Path("talk.wav"))
    Path("m.jsonl").write_text('{"audio": "gone.wav", "reference": "x"}', encoding="utf-8")
    for name, task in (("a", "transcribe"), ("b", "translate")):
        entries = {"source": "a.wav", "task": task, "text": "x", "language": "fr"}
        Path(f"{name}.json").write_text(json.dumps(entries), encoding="utf-8")
    assert phi4audio(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1

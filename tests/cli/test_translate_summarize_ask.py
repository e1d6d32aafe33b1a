"""translate, summarize and ask from their arguments to their files, with a scripted model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi4audio_cli.cli.app import main
from phi4audio_cli.pipeline.backend import ScriptedBackend
from phi4audio_cli.types import Request
from tests.factories import write_tone

PLAIN = {
    "Translate the audio to French.": "un deux",
    "Translate the audio to German.": "eins zwei",
    "Translate the audio to Polish.": "raz dwa",
    "Transcribe the audio clip into text.": "one two",
    "Summarize the audio.": "It counts.",
}


def scripted_answer(request: Request) -> str:
    if "<sep>" in request.prompt:
        return "one two <sep> un deux"
    return PLAIN.get(request.prompt, f"about {request.prompt!r}")


@pytest.fixture(autouse=True)
def talk(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHI4AUDIO_VAD", "false")  # tones are not speech
    return write_tone(Path("talk.wav"), 3.0)


@pytest.fixture
def backend(use_backend) -> ScriptedBackend:
    scripted = ScriptedBackend(scripted_answer, batch_size=None)
    use_backend(scripted)
    return scripted


def phi4audio(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def names() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"talk.wav", ".phi4audio"}


def load(name: str) -> dict:
    return json.loads(Path(name).read_text(encoding="utf-8"))


def test_each_language_gets_files_of_its_own(backend, capsys) -> None:
    assert phi4audio("translate", "talk.wav", "--lang", "français", "--lang", "de,fr-CA") == 0
    assert capsys.readouterr().out == "un deux\neins zwei\n"
    assert names() == {f"talk.{code}.{f}" for code in ("fr", "de") for f in ("txt", "json", "srt")}
    assert Path("talk.de.txt").read_text(encoding="utf-8") == "eins zwei\n"
    written = load("talk.fr.json")
    assert (written["task"], written["language"], written["text"]) == ("translate", "fr", "un deux")
    assert written["prompt"] == "Translate the audio to French."
    assert "transcript" not in written
    [french, german] = backend.requests
    assert french.chunk is german.chunk  # decoded and cut once


def test_with_transcript_holds_both_and_bilingual_shows_both(backend) -> None:
    assert phi4audio("translate", "talk.wav", "-L", "fr", "--with-transcript", "-l", "en") == 0
    written = load("talk.fr.json")
    assert (written["transcript"], written["text"]) == ("one two", "un deux")
    assert written["segments"][0]["transcript"] == "one two"
    assert written["source_language"] == "en"
    assert "one two" not in Path("talk.fr.srt").read_text(encoding="utf-8")
    assert phi4audio("translate", "talk.wav", "-L", "fr", "--bilingual", "-f", "srt,txt") == 0
    assert "\none two\nun deux\n" in Path("talk.fr.srt").read_text(encoding="utf-8")
    assert Path("talk.fr.txt").read_text(encoding="utf-8") == "un deux\n"


def test_a_language_the_model_was_not_trained_for_is_a_warning(backend, capsys) -> None:
    assert phi4audio("translate", "talk.wav", "--lang", "pl,fr") == 0
    assert "writes Polish but was not trained" in capsys.readouterr().err
    assert Path("talk.pl.txt").read_text(encoding="utf-8") == "raz dwa\n"
    assert phi4audio("translate", "talk.wav", "--lang", "fr") == 0
    assert "trained" not in capsys.readouterr().err


def test_a_summary_is_text_markdown_and_json(backend, capsys) -> None:
    assert phi4audio("summarize", "talk.wav") == 0
    assert capsys.readouterr().out == "It counts.\n"
    assert names() == {"talk.summary.txt", "talk.summary.md", "talk.summary.json"}
    written = load("talk.summary.json")
    assert (written["task"], written["style"]) == ("summarize", "paragraph")
    assert written["parts"] == [
        {"start": 0.0, "end": 3.0, "text": "It counts.", "avg_logprob": None, "finish": "stop"}
    ]
    assert Path("talk.summary.md").read_text(encoding="utf-8") == "# talk.wav\n\nIt counts.\n"


def test_long_recordings_are_summarized_in_parts_and_resumed(backend, talk, capsys) -> None:
    write_tone(talk, 150.0)
    assert phi4audio("summarize", "talk.wav", "--max-minutes", "1", "-f", "md,json") == 0
    *parts, joined = backend.requests
    assert len(parts) == 3
    assert max(request.chunk.seconds for request in parts) <= 60
    assert joined.chunk is None
    written = load("talk.summary.json")
    assert len(written["parts"]) == 3
    assert "{parts}" in written["joining_prompt"]
    assert "## 0:00 to " in Path("talk.summary.md").read_text(encoding="utf-8")
    assert "It counts." in capsys.readouterr().out


def test_limited_memory_shortens_parts_with_a_notice(backend, talk, capsys) -> None:
    write_tone(talk, 150.0)
    backend.max_chunk_seconds = 50.0
    assert phi4audio("summarize", "talk.wav", "-f", "txt") == 0
    assert max(request.chunk.seconds for request in backend.requests if request.chunk) <= 50
    assert (
        "don't fit the free memory: the recordings are processed in parts of at most 0:50"
        in capsys.readouterr().err
    )


def test_summaries_take_style_language_prompt_and_presets(backend, tmp_path) -> None:
    Path("my.toml").write_text('[prompts]\nheadline = "Shout it."\n', encoding="utf-8")
    phi4audio("summarize", "talk.wav", "--style", "headline", "--lang", "deutsch", "-c", "my.toml")
    phi4audio("summarize", "talk.wav", "--prompt", "Who speaks?")
    asked = [request.prompt for request in backend.requests]
    assert asked == ["Shout it. Write in German.", "Who speaks?"]


def test_formats_of_a_configuration_for_all_commands_do_not_stop_a_summary(backend) -> None:
    Path("my.toml").write_text('formats = ["json", "srt"]\n', encoding="utf-8")
    assert phi4audio("summarize", "talk.wav", "-c", "my.toml") == 0
    assert names() == {"my.toml", "talk.summary.json"}


def test_a_question_is_answered(backend, capsys) -> None:
    assert phi4audio("ask", "talk.wav", "Who is it?", "--system", "Be short.") == 0
    assert capsys.readouterr().out == "about 'Who is it?'\n"
    assert names() == {"talk.answer.txt", "talk.answer.json"}
    written = load("talk.answer.json")
    assert (written["question"], written["system"]) == ("Who is it?", "Be short.")
    [request] = backend.requests
    assert (request.prompt, request.system) == ("Who is it?", "Be short.")


def test_without_a_question_the_spoken_one_is_answered(backend) -> None:
    assert phi4audio("ask", "talk.wav") == 0
    assert [request.prompt for request in backend.requests] == [""]
    assert load("talk.answer.json")["question"] is None


@pytest.mark.parametrize("command", [["translate", "-L", "fr"], ["summarize"], ["ask"]])
def test_verbose_shows_the_prompts(backend, command, capsys) -> None:
    assert phi4audio(*command, "talk.wav", "--verbose") == 0
    err = capsys.readouterr().err
    assert all(request.prompt in err for request in backend.requests)


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "talk.wav", "--lang", "Frensh"], "it knows French"),
        (["translate", "talk.wav", "--lang", "fr", "-f", "docx"], "no such output format"),
        (["summarize", "talk.wav", "-f", "srt"], "a summary is about the whole recording"),
        (["summarize", "talk.wav", "-f", "docx"], "no such output format"),
        (["summarize", "talk.wav", "--lang", "Klingon"], "--lang Klingon"),
        (["ask", "talk.wav", "Why?", "-f", "srt"], "it can be txt, json"),
        (["ask", "talk.wav", "talk.wav"], "a file stands where the question is expected"),
        (["summarize", "talk.wav", "-c", "bad.toml"], "did you mean paragraph?"),
    ],
)
def test_invalid_arguments_fail_before_a_model_is_loaded(arguments, message, capsys) -> None:
    Path("bad.toml").write_text('[prompts]\nparagraf = "x"\n', encoding="utf-8")
    assert phi4audio(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1

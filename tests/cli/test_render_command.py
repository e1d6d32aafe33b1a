"""Making formats again from JSON, without a model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import srt

from phi4audio_cli.cli.app import main
from phi4audio_cli.pipeline.output_writer import render_all
from phi4audio_cli.storage import write_all
from phi4audio_cli.types import Job, Metadata, Segment, Transcript, Word

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture(autouse=True)
def transcript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    words = tuple(
        Word(f" {word}" if n else word, float(n), n + 0.6, 0.9) for n, word in enumerate(WORDS)
    )
    segment = Segment(0, 0.0, 9.6, " ".join(WORDS), "attention", words=words)
    result = Transcript(segment.text, "English", (segment,), 10.0, "Write.", language_from="given")
    path = tmp_path / "talk.json"
    job = Job(0, tmp_path / "talk.wav", {"json": path})
    write_all(render_all(job, result, Metadata("talk.wav", "demo", "0")))
    return path


def render(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["render", *arguments])
    return int(caught.value.code or 0)


def test_lines_are_as_wide_as_asked(transcript: Path):
    assert render("talk.json", "-f", "srt,vtt", "--max-line-width", "20", "--max-lines", "1") == 0
    cues = list(srt.parse(Path("talk.srt").read_text(encoding="utf-8")))
    assert " ".join(cue.content for cue in cues).split() == WORDS
    assert len(cues) > 2
    assert all(len(cue.content) <= 20 and "\n" not in cue.content for cue in cues)
    assert Path("talk.vtt").read_text(encoding="utf-8").startswith("WEBVTT")


def test_render_loads_no_model_and_leaves_the_json_unchanged(transcript: Path):
    before = transcript.read_bytes()
    # In a process of its own: here other tests have loaded everything.
    program = """
import sys
from phi4audio_cli.cli.app import main
try:
    main(["render", "talk.json"])
finally:
    print(*{"torch", "transformers", "phi4audio_cli.model.torch_backend"} & set(sys.modules))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert transcript.read_bytes() == before
    assert Path("talk.txt").read_text(encoding="utf-8").split() == WORDS


def test_a_bad_file_does_not_stop_the_others(transcript: Path, capsys: pytest.CaptureFixture[str]):
    Path("new.json").write_text(json.dumps({"schema_version": "9"}), encoding="utf-8")
    assert render("new.json", "missing.json", "talk.json", "-f", "tsv") == 2
    errors = capsys.readouterr().err
    assert "new.json: schema version 9 is unknown" in errors
    assert "missing.json" in errors
    assert Path("talk.tsv").exists()


def test_names_by_a_template(transcript: Path, monkeypatch: pytest.MonkeyPatch):
    assert (
        render("talk.json", "-f", "srt", "--output-template", "subs/{index}-{stem}.{format}") == 0
    )
    assert Path("subs/1-talk.srt").is_file()
    monkeypatch.setenv("PHI4AUDIO_OUTPUT_TEMPLATE", "{parent}/{stem}/said.{format}")
    assert render("talk.json", "-f", "txt", "-o", "out") == 0
    assert Path("out/talk/said.txt").is_file()
    before = transcript.read_bytes()
    monkeypatch.setenv("PHI4AUDIO_OUTPUT_TEMPLATE", "{stem}.{format}")
    assert render("talk.json", "-f", "json") == 2
    assert transcript.read_bytes() == before


def test_render_never_overwrites_its_input(transcript: Path):
    before = transcript.read_bytes()
    assert render("talk.json", "-f", "json") == 0
    assert transcript.read_bytes() == before
    assert Path("talk.json.json").read_bytes() == before

"""Inputs that can't be used: each is printed, or, of many, counted and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phi4audio_cli.cli.app import main
from phi4audio_cli.cli.run_plan import MAX_MISSING_SHOWN
from phi4audio_cli.pipeline.backend import ScriptedBackend
from tests.factories import write_tone


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_backend) -> None:
    monkeypatch.chdir(tmp_path)
    use_backend(ScriptedBackend(lambda request: "hello"))
    write_tone(Path("talk.wav"))


def transcribe(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["transcribe", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def report(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    return found


def write_list(missing: int, *others: str) -> None:
    names = [*others, *(f"gone-{number}.wav" for number in range(missing))]
    Path("list.txt").write_text("\n".join(names), encoding="utf-8")


def test_the_first_missing_inputs_are_printed_and_all_are_in_the_report(capsys) -> None:
    write_list(1000, "talk.wav")
    assert transcribe("@list.txt", "-o", "out") == 2
    err = capsys.readouterr().err
    assert err.count("gone-") == MAX_MISSING_SHOWN
    assert "... of 1000 inputs that can't be used: the report lists them all (--report FILE)" in err
    found = report("out/report.json")
    assert (found["totals"]["files"], found["totals"]["missing"]) == (1, 1000)
    assert found["missing"][999]["source"] == "list.txt, line 1001"
    assert "gone-999.wav" in found["missing"][999]["error"]
    assert Path("out/talk.txt").is_file()


def test_few_missing_inputs_are_printed_each(capsys) -> None:
    write_list(MAX_MISSING_SHOWN, "talk.wav")
    assert transcribe("@list.txt") == 2
    err = capsys.readouterr().err
    assert err.count("gone-") == MAX_MISSING_SHOWN
    assert "..." not in err


def test_the_report_is_written_if_no_input_is_usable(capsys) -> None:
    write_list(12)
    assert transcribe("@list.txt", "-o", "out", "--report", "r.json") == 2
    assert len(report("r.json")["missing"]) == 12
    assert not Path("out").exists()
    assert transcribe("@list.txt", "--report", ".") == 4
    assert "the report can't be written" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_rejects_urls_and_transcribes_files(how, monkeypatch, capsys) -> None:
    if how == "environment":
        monkeypatch.setenv("PHI4AUDIO_OFFLINE", "1")
    urls = ["https://example.org/a.mp3?key=secret", "s3://calls/b.mp3"]
    Path("list.txt").write_text("\n".join([*urls, "talk.wav"]), encoding="utf-8")
    options = ["--offline"] if how == "option" else []
    assert transcribe(urls[0], "@list.txt", *options) == 2
    captured = capsys.readouterr()
    assert captured.out == "hello\n"
    assert (
        "phi4audio: https://example.org/a.mp3: can't be downloaded with --offline" in captured.err
    )
    assert (
        "phi4audio: list.txt, line 2: can't be downloaded with --offline: s3://calls/b.mp3"
        in captured.err
    )
    assert "secret" not in captured.err

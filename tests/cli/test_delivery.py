"""How results and failures reach the user."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from phi4audio_cli.cli import machine
from phi4audio_cli.cli.app import main
from phi4audio_cli.engine import ScriptedBackend, Stop
from phi4audio_cli.engine.backend import never
from phi4audio_cli.errors import AudioError, FileError
from phi4audio_cli.jobs.filing import explained
from phi4audio_cli.types import Generation, Job, Request, Unanswered

from .samples import write_tone


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[ScriptedBackend], None]:
    return lambda backend: monkeypatch.setattr(machine, "open_backend", lambda *_: backend)


def phi4audio(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


class Overflowing(ScriptedBackend):
    """Can't answer, and knows no more than the request."""

    def generate(
        self, feed: Iterable[Request | None], stop: Stop = never
    ) -> Iterator[Generation | Unanswered]:
        for answer in super().generate(feed, stop):
            yield Unanswered(answer.request, FileError("numbers overflow", None, "try float32"))


def test_what_the_backend_says_is_told_with_the_recordings_name(answer, capsys) -> None:
    write_tone(Path("talk.wav"))
    answer(Overflowing(lambda request: "", window=None))
    assert phi4audio("transcribe", "talk.wav", "-o", "out") == 10
    said = "talk.wav: numbers overflow (try float32)"
    assert f"phi4audio: {said}\n" in capsys.readouterr().err
    assert json.loads(Path("out/report.json").read_text("utf-8"))["files"][0]["error"] == said


def test_an_error_keeps_its_kind_and_its_own_place() -> None:
    job = Job(0, Path("talk.wav"))
    inside = explained(AudioError("torn", "talk.wav, track 1", "record again"), job)
    assert isinstance(inside, AudioError)
    assert str(inside) == "talk.wav, track 1: torn (record again)"
    fetched = Job(0, Path("talk.wav"), url="https://me:secret@example.org/talk.wav?key=secret")
    for error in (FileError("torn"), ValueError("torn")):
        assert str(explained(error, fetched)).startswith("https://example.org/talk.wav: ")


def write_call(path: Path) -> None:
    """Write a recording of two channels."""
    call = np.full((3 * 16000, 2), 0.1, np.float32)
    soundfile.write(path, call, 16000)


def test_split_channels_are_printed_as_the_text_file_has_them(answer, capsys) -> None:
    write_call(Path("call.wav"))

    def say(request: Request) -> str:
        assert request.chunk is not None
        return {"left": "Hello.", "right": "Hi."}[request.chunk.speaker or ""]

    answer(ScriptedBackend(say))
    for _ in ("anew", "from the journal"):
        assert phi4audio("transcribe", "call.wav", "--channel", "split") == 0
        printed = capsys.readouterr().out
        assert set(printed.splitlines()) == {"left: Hello.", "right: Hi."}
        assert printed == Path("call.txt").read_text(encoding="utf-8")


def test_split_channels_are_printed_so_in_every_language(answer, capsys) -> None:
    write_call(Path("call.wav"))
    answer(ScriptedBackend(lambda request: "Bonjour."))
    options = ("-L", "fr,de", "--channel", "split")
    assert phi4audio("translate", "call.wav", *options) == 0
    assert capsys.readouterr().out.splitlines() == ["left: Bonjour.", "right: Bonjour."] * 2

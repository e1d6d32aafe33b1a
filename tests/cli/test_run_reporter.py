"""Results and failures as the user sees them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from phi4audio_cli.cli.app import main
from phi4audio_cli.errors import AudioError, FileError
from phi4audio_cli.pipeline.backend import ScriptedBackend, ShouldStop, never_stop
from phi4audio_cli.pipeline.output_writer import with_recording_name
from phi4audio_cli.types import Generation, Job, Request, RequestFailed
from tests.factories import write_tone


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def phi4audio(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


class OverflowingBackend(ScriptedBackend):
    """Can't answer, and knows no more than the request."""

    def generate(
        self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop
    ) -> Iterator[Generation | RequestFailed]:
        for answer in super().generate(requests, should_stop):
            yield RequestFailed(answer.request, FileError("numbers overflow", None, "try float32"))


def test_backend_errors_name_the_recording(use_backend, capsys) -> None:
    write_tone(Path("talk.wav"))
    use_backend(OverflowingBackend(lambda request: "", batch_size=None))
    assert phi4audio("transcribe", "talk.wav", "-o", "out") == 10
    said = "talk.wav: numbers overflow (try float32)"
    assert f"phi4audio: {said}\n" in capsys.readouterr().err
    assert json.loads(Path("out/report.json").read_text("utf-8"))["files"][0]["error"] == said


def test_an_error_keeps_its_type_and_its_own_location() -> None:
    job = Job(0, Path("talk.wav"))
    inside = with_recording_name(AudioError("torn", "talk.wav, track 1", "record again"), job)
    assert isinstance(inside, AudioError)
    assert str(inside) == "talk.wav, track 1: torn (record again)"
    fetched = Job(0, Path("talk.wav"), url="https://me:secret@example.org/talk.wav?key=secret")
    for error in (FileError("torn"), ValueError("torn")):
        assert str(with_recording_name(error, fetched)).startswith("https://example.org/talk.wav: ")


def write_stereo_call(path: Path) -> None:
    """Write a recording of two channels."""
    call = np.full((3 * 16000, 2), 0.1, np.float32)
    soundfile.write(path, call, 16000)


def test_split_channels_are_printed_as_in_the_text_file(use_backend, capsys) -> None:
    write_stereo_call(Path("call.wav"))

    def say(request: Request) -> str:
        assert request.chunk is not None
        return {"left": "Hello.", "right": "Hi."}[request.chunk.speaker or ""]

    use_backend(ScriptedBackend(say))
    for _ in ("new", "from the journal"):
        assert phi4audio("transcribe", "call.wav", "--channel", "split") == 0
        printed = capsys.readouterr().out
        assert set(printed.splitlines()) == {"left: Hello.", "right: Hi."}
        assert printed == Path("call.txt").read_text(encoding="utf-8")


def test_split_channels_are_printed_in_every_target_language(use_backend, capsys) -> None:
    write_stereo_call(Path("call.wav"))
    use_backend(ScriptedBackend(lambda request: "Bonjour."))
    options = ("-L", "fr,de", "--channel", "split")
    assert phi4audio("translate", "call.wav", *options) == 0
    assert capsys.readouterr().out.splitlines() == ["left: Bonjour.", "right: Bonjour."] * 2

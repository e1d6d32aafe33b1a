"""Fingerprints of models, tasks and settings, and the check that a recording is unchanged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from phi4audio_cli.jobs import fingerprint
from phi4audio_cli.jobs.download import FetchRecording, open_local_copy
from phi4audio_cli.jobs.fingerprint import IRRELEVANT_SETTINGS, answer_identity, model_fingerprint
from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.languages import find_language
from phi4audio_cli.locations import RemotePath
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.ask_task import Ask
from phi4audio_cli.tasks.prompts import Prompts
from phi4audio_cli.tasks.summarize_task import Summarize
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.tasks.translate_task import Translate
from phi4audio_cli.types import Job, Transcript


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "speech-lora").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 4096)
    (tmp_path / "speech-lora" / "adapter_config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("max_whole", [1 << 30, 1 << 18])
def test_a_changed_model_has_another_fingerprint(model: Path, max_whole: int, monkeypatch) -> None:
    monkeypatch.setattr(fingerprint, "MAX_WHOLE_FILE_BYTES", max_whole)
    before = model_fingerprint(model, None)
    assert model_fingerprint(model, None) == before
    (model / "README.md").write_text("words")
    assert model_fingerprint(model, None) == before
    assert model_fingerprint(model, model / "speech-lora") != before
    weights = bytearray((model / "model.safetensors").read_bytes())
    (model / "model.safetensors").write_bytes(weights + b"\0")
    assert model_fingerprint(model, None) != before
    trained = bytes((byte + 1) % 256 for byte in weights)  # same header and size elsewhere
    (model / "model.safetensors").write_bytes(weights[:1000] + trained[1000:])
    assert model_fingerprint(model, None) != before
    (model / "model.safetensors").write_bytes(weights)
    assert model_fingerprint(model, None) == before
    (model / "speech-lora" / "adapter_config.json").write_text("{ }")
    assert model_fingerprint(model, None) != before


FRENCH = find_language("French")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Transcribe(), Transcribe("German")),
        (Transcribe(), Transcribe(align="none")),
        (Transcribe(), Transcribe(prompts=Prompts(transcribe="Write!"))),
        (Translate([FRENCH]), Translate([FRENCH], bilingual=True)),
        (Summarize(), Summarize("bullets")),
        (Summarize(), Summarize(prompts=Prompts(join_paragraph="{parts}"))),
        (Ask("Who?"), Ask("Why?")),
        (Ask("Who?"), Ask("Who?", system="Be short.")),
        (Summarize(), Ask()),
    ],
)
def test_tasks_with_different_requests_have_different_identities(one, other) -> None:
    settings = Settings()
    first = answer_identity(one, settings, "m")
    assert first != answer_identity(other, settings, "m")
    assert json.loads(json.dumps(first)) == first
    assert " at 0x" not in repr(first), "it would change from run to run"


def test_only_irrelevant_settings_keep_the_identity() -> None:
    task = Transcribe()
    before = answer_identity(task, Settings(), "m")
    changed = {
        "model": "other/name", "formats": ("txt",), "output_dir": "out", "batch_size": 1,
        "device": "cuda", "offline": True, "max_lines": 1, "max_uncovered": 1,
    }  # fmt: skip
    assert answer_identity(task, Settings(**changed), "m") == before
    relevant = {
        "vad": False, "dtype": "float32", "channel": "left", "track": 1, "quantize": "int8",
    }  # fmt: skip
    for key, value in relevant.items():
        assert answer_identity(task, Settings(**{key: value}), "m") != before
    assert set(Settings.model_fields) >= IRRELEVANT_SETTINGS


IDENTITY = {"task": "Transcribe", "model": "m"}
TRANSCRIPT = Transcript("na", None, (), 2.0, "Transcribe.")


@pytest.fixture
def downloaded_job(remote_filesystem) -> Job:
    remote_filesystem().pipe_file("/talks/talk.wav", b"sound")
    url = f"{remote_filesystem.protocol}://talks/talk.wav"
    outputs = {"txt": RemotePath(f"{remote_filesystem.protocol}://calls/out") / "talk.txt"}
    return Job(0, Path("talk.wav"), outputs, url=url)


def make_store(fetch: FetchRecording = open_local_copy) -> ResumeStore:
    return ResumeStore(lambda job: IDENTITY, fetch)


def finish_download(job: Job) -> None:
    store = make_store()
    with open_local_copy(job) as source:
        store.open_recording(job, source)
    store.finish(job, TRANSCRIPT, [])


def test_an_unchanged_recording_is_not_downloaded_again(downloaded_job, remote_filesystem) -> None:
    finish_download(downloaded_job)

    def refuse(job: Job) -> None:
        raise AssertionError("a download")

    assert make_store(refuse).load_finished(downloaded_job) is not None


@pytest.mark.parametrize("sound", [b"noise", b"other sound"])
def test_a_changed_recording_is_not_finished(downloaded_job, remote_filesystem, sound) -> None:
    finish_download(downloaded_job)
    remote_filesystem().pipe_file("/talks/talk.wav", sound)
    remote_filesystem.store["/talks/talk.wav"].modified = datetime(2030, 1, 1, tzinfo=UTC)
    assert make_store().load_finished(downloaded_job) is None


def test_a_newer_file_with_the_same_bytes_is_finished(downloaded_job, remote_filesystem) -> None:
    finish_download(downloaded_job)
    remote_filesystem.store["/talks/talk.wav"].modified = datetime(2030, 1, 1, tzinfo=UTC)
    assert make_store().load_finished(downloaded_job) is not None


def test_without_a_modification_time_the_bytes_are_compared(
    downloaded_job, remote_filesystem, monkeypatch
) -> None:
    monkeypatch.setattr(remote_filesystem, "modified", lambda self, path: 1 / 0)
    finish_download(downloaded_job)
    assert make_store().load_finished(downloaded_job) is not None
    remote_filesystem().pipe_file("/talks/talk.wav", b"noise")
    assert make_store().load_finished(downloaded_job) is None


def test_a_file_replaced_during_its_download_is_changed(
    downloaded_job, remote_filesystem, monkeypatch
) -> None:
    get = remote_filesystem.get_file

    def replace_after(self, source: str, path: str, **options) -> None:
        get(self, source, path, **options)
        remote_filesystem().pipe_file("/talks/talk.wav", b"noise")
        remote_filesystem.store["/talks/talk.wav"].modified = datetime(2030, 1, 1, tzinfo=UTC)

    with monkeypatch.context() as patch:
        patch.setattr(remote_filesystem, "get_file", replace_after)
        finish_download(downloaded_job)
    assert make_store().load_finished(downloaded_job) is None

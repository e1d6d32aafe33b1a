"""Fingerprints of models, tasks and settings, and the check that a recording is unchanged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from phi4audio_cli.jobs import fingerprint
from phi4audio_cli.jobs.download import open_local_copy
from phi4audio_cli.jobs.fingerprint import IRRELEVANT_SETTINGS, answer_identity, model_fingerprint
from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.jobs.task_factory import TaskFactory
from phi4audio_cli.languages import find_language
from phi4audio_cli.settings import Settings
from phi4audio_cli.storage import RemotePath
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


@pytest.mark.parametrize("whole", [1 << 30, 1 << 18])
def test_a_changed_model_is_another(model: Path, whole: int, monkeypatch) -> None:
    monkeypatch.setattr(fingerprint, "MAX_WHOLE_FILE_BYTES", whole)
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
def test_tasks_that_ask_otherwise_differ_and_equal_ones_do_not(one, other) -> None:
    settings = Settings()
    first = answer_identity(one, settings, "m")
    assert first != answer_identity(other, settings, "m")
    assert json.loads(json.dumps(first)) == first
    assert " at 0x" not in repr(first), "it would change from run to run"


def test_settings_count_unless_they_are_known_to_be_harmless() -> None:
    task = Transcribe()
    before = answer_identity(task, Settings(), "m")
    changed = {
        "model": "other/name", "formats": ("txt",), "output_dir": "out", "batch_size": 1,
        "device": "cuda", "offline": True, "max_lines": 1, "max_uncovered": 1,
    }  # fmt: skip
    assert answer_identity(task, Settings(**changed), "m") == before
    counting = {
        "vad": False, "dtype": "float32", "channel": "left", "track": 1, "quantize": "int8",
    }  # fmt: skip
    for key, value in counting.items():
        assert answer_identity(task, Settings(**{key: value}), "m") != before
    assert set(Settings.model_fields) >= IRRELEVANT_SETTINGS


def test_a_manifests_language_gets_a_task_of_its_own_made_once() -> None:
    made: list[str | None] = []

    def make(settings: Settings) -> Transcribe:
        made.append(settings.language)
        return Transcribe(settings.language)

    tasks = TaskFactory(Settings(language="English"), make)
    jobs = [Job(i, Path("x"), language=each) for i, each in enumerate((None, "English", "French"))]
    prompts = [tasks.for_job(job).prompt for job in jobs * 2]
    assert made == ["English", "French"]
    assert prompts[0] == prompts[1] == "Transcribe the English audio clip into text."
    assert prompts[2] == "Transcribe the French audio clip into text."
    assert tasks.identity_of(jobs[0], "m") != tasks.identity_of(jobs[2], "m")


IDENTITY = {"task": "Transcribe", "model": "m"}
TRANSCRIPT = Transcript("na", None, (), 2.0, "Transcribe.")


@pytest.fixture
def fetched_job(system) -> Job:
    system().pipe_file("/talks/talk.wav", b"sound")
    url = f"{system.protocol}://talks/talk.wav"
    outputs = {"txt": RemotePath(f"{system.protocol}://calls/out") / "talk.txt"}
    return Job(0, Path("talk.wav"), outputs, url=url)


def fetching(job: Job) -> ResumeStore:
    found = ResumeStore(lambda job: IDENTITY, open_local_copy)
    with open_local_copy(job) as source:
        found.open_recording(job, source)
    found.finish(job, TRANSCRIPT, [])
    return found


def test_what_has_not_changed_is_not_fetched_again(fetched_job, system) -> None:
    fetching(fetched_job)

    def refuse(job: Job) -> None:
        raise AssertionError("it was fetched")

    assert ResumeStore(lambda job: IDENTITY, refuse).load_finished(fetched_job) is not None


@pytest.mark.parametrize("sound", [b"noise", b"other sound"])
def test_what_has_changed_is_done_again(fetched_job, system, sound) -> None:
    fetching(fetched_job)
    system().pipe_file("/talks/talk.wav", sound)
    system.store["/talks/talk.wav"].modified = datetime(2030, 1, 1, tzinfo=UTC)
    assert ResumeStore(lambda job: IDENTITY, open_local_copy).load_finished(fetched_job) is None


def test_what_was_written_again_with_the_same_bytes_is_done(fetched_job, system) -> None:
    fetching(fetched_job)
    system.store["/talks/talk.wav"].modified = datetime(2030, 1, 1, tzinfo=UTC)
    assert ResumeStore(lambda job: IDENTITY, open_local_copy).load_finished(fetched_job) is not None


def test_where_no_time_is_known_the_bytes_are_compared(fetched_job, system, monkeypatch) -> None:
    monkeypatch.setattr(system, "modified", lambda self, path: 1 / 0)
    fetching(fetched_job)
    assert ResumeStore(lambda job: IDENTITY, open_local_copy).load_finished(fetched_job) is not None
    system().pipe_file("/talks/talk.wav", b"noise")
    assert ResumeStore(lambda job: IDENTITY, open_local_copy).load_finished(fetched_job) is None


def test_what_is_replaced_while_it_is_fetched_is_seen_as_changed(
    fetched_job, system, monkeypatch
) -> None:
    get = system.get_file

    def replace_after(self, place: str, path: str, **more) -> None:
        get(self, place, path, **more)
        system().pipe_file("/talks/talk.wav", b"noise")
        system.store["/talks/talk.wav"].modified = datetime(2030, 1, 1, tzinfo=UTC)

    with monkeypatch.context() as patch:
        patch.setattr(system, "get_file", replace_after)
        fetching(fetched_job)
    assert ResumeStore(lambda job: IDENTITY, open_local_copy).load_finished(fetched_job) is None

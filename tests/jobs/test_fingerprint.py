"""What answers depend on: files, model, task and settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi4audio_cli.jobs import fingerprint
from phi4audio_cli.jobs.fingerprint import HARMLESS, identity, model_fingerprint
from phi4audio_cli.jobs.tasks import Tasks
from phi4audio_cli.languages import find_language
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.ask import Ask
from phi4audio_cli.tasks.prompts import Prompts
from phi4audio_cli.tasks.summarize import Summarize
from phi4audio_cli.tasks.transcribe import Transcribe
from phi4audio_cli.tasks.translate import Translate
from phi4audio_cli.types import Job


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "speech-lora").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 4096)
    (tmp_path / "speech-lora" / "adapter_config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("whole", [1 << 30, 1 << 18])
def test_a_changed_model_is_another(model: Path, whole: int, monkeypatch) -> None:
    monkeypatch.setattr(fingerprint, "WHOLE", whole)
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
    first = identity(one, settings, "m")
    assert first != identity(other, settings, "m")
    assert json.loads(json.dumps(first)) == first
    assert " at 0x" not in repr(first), "it would change from run to run"


def test_settings_count_unless_they_are_known_to_be_harmless() -> None:
    task = Transcribe()
    before = identity(task, Settings(), "m")
    changed = {
        "model": "other/name", "formats": ("txt",), "output_dir": "out", "batch_size": 1,
        "device": "cuda", "offline": True, "max_lines": 1, "max_uncovered": 1,
    }  # fmt: skip
    assert identity(task, Settings(**changed), "m") == before
    counting = {
        "vad": False, "dtype": "float32", "channel": "left", "track": 1, "quantize": "int8",
    }  # fmt: skip
    for key, value in counting.items():
        assert identity(task, Settings(**{key: value}), "m") != before
    assert set(Settings.model_fields) >= HARMLESS


def test_a_manifests_language_gets_a_task_of_its_own_made_once() -> None:
    made: list[str | None] = []

    def make(settings: Settings) -> Transcribe:
        made.append(settings.language)
        return Transcribe(settings.language)

    tasks = Tasks(Settings(language="English"), make)
    jobs = [Job(i, Path("x"), language=each) for i, each in enumerate((None, "English", "French"))]
    prompts = [tasks.of(job).prompt for job in jobs * 2]
    assert made == ["English", "French"]
    assert prompts[0] == prompts[1] == "Transcribe the English audio clip into text."
    assert prompts[2] == "Transcribe the French audio clip into text."
    assert tasks.identity_of(jobs[0], "m") != tasks.identity_of(jobs[2], "m")

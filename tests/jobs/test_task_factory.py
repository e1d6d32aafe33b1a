"""Tasks of a run, one for each language of a manifest."""

from __future__ import annotations

from pathlib import Path

from phi4audio_cli.jobs.task_factory import TaskFactory
from phi4audio_cli.settings import Settings
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Job


def test_each_language_of_a_manifest_has_one_task() -> None:
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

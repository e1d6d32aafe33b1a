"""The pipeline: jobs in, events out, the same for every task."""

from phi4audio_cli.audio.reader import Chunker
from phi4audio_cli.pipeline.answer_store import AnswerStore
from phi4audio_cli.pipeline.backend import Backend, ScriptedBackend, ShouldStop, never_stop
from phi4audio_cli.pipeline.pipeline import run_pipeline
from phi4audio_cli.pipeline.recording_reader import SourceOptions

__all__ = [
    "Backend",
    "Chunker",
    "SourceOptions",
    "AnswerStore",
    "ScriptedBackend",
    "ShouldStop",
    "never_stop",
    "run_pipeline",
]

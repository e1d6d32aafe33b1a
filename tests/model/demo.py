"""Requests for the bundled checkpoint, and the tokens of its answers."""

from __future__ import annotations

from collections.abc import Sequence

from phi4audio_cli.audio.energy_chunking import chunk_at_silence
from phi4audio_cli.doctor.audio_checks import bundled_sample
from phi4audio_cli.model.torch_backend import TorchBackend
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Generation, Request


def demo_requests(seconds: int) -> list[Request]:
    """Ask for a transcript of the first seconds of the interview, in chunks of 9 s at most."""
    speech, rate = bundled_sample("interview")
    task = Transcribe("English", align="none")
    chunks = chunk_at_silence([speech[: seconds * rate]], rate, 9.0)
    return [request for chunk in chunks for request in task.requests(0, chunk)]


def tokens(
    backend: TorchBackend, requests: Sequence[Request], batch_size: int = 4
) -> list[tuple[int, ...]]:
    """Return the tokens of each answer, in the order of the requests."""
    backend.batch_size = batch_size
    found: dict[Request, tuple[int, ...]] = {}
    for answer in backend.generate(requests):
        assert isinstance(answer, Generation)
        found[answer.request] = answer.tokens
    return [found[request] for request in requests]

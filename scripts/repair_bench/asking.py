"""A task's requests and repairs, answered round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from phi4audio_cli.tasks.transcribe import Transcribe
from phi4audio_cli.types import Chunk, Generation, Request

Answering = Callable[[Sequence[Request]], Sequence[Generation]]
"""Answers a round of requests, in any order."""


def ask(task: Transcribe, chunks: Sequence[Chunk], answering: Answering) -> list[list[Generation]]:
    """Asks about chunks, each a recording of its own, until the task is content.

    Returns:
        The answers about each chunk, that to the first request first.
    """
    answers: list[list[Generation]] = [[] for _ in chunks]
    waiting = [request for job, chunk in enumerate(chunks) for request in task.requests(job, chunk)]
    while waiting:
        told = sorted(answering(waiting), key=lambda answer: answer.request.job)
        waiting = []
        for answer in told:
            answers[answer.request.job].append(answer)
            waiting += task.repair(answer)
    return answers

"""Answer the requests and retries of a task, round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Chunk, Generation, Request

AnswerRound = Callable[[Sequence[Request]], Sequence[Generation]]
"""Answers a round of requests, in any order."""


def answer_with_retries(
    task: Transcribe, chunks: Sequence[Chunk], answering: AnswerRound
) -> list[list[Generation]]:
    """Answer the requests about chunks, each a recording of its own, until no retry is left.

    Returns:
        The answers about each chunk, beginning with the one to the first request.
    """
    answers: list[list[Generation]] = [[] for _ in chunks]
    waiting = [request for job, chunk in enumerate(chunks) for request in task.requests(job, chunk)]
    while waiting:
        round_answers = sorted(answering(waiting), key=lambda answer: answer.request.job)
        waiting = []
        for answer in round_answers:
            answers[answer.request.job].append(answer)
            waiting += task.retry(answer)
    return answers

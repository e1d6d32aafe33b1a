"""Chunks of noise, and scripted answers about them in the order of the pipeline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from phi4audio_cli.tasks.task import Task
from phi4audio_cli.tasks.transcribe_task import Transcribe
from phi4audio_cli.types import Chunk, Generation, Request, Span, Transcript

RATE = 8_000
FIRST_SENTENCE = "we went to the market and bought bread cheese and some apples for the whole week"
SECOND_SENTENCE = (
    "then it began to rain and everybody ran home as fast as their legs could carry them"
)
REFUSAL_TEXT = "I'm sorry, but I can't listen to audio."
DEFECTIVE = {
    "empty": "",
    "refusal": REFUSAL_TEXT,
    "echo": "Transcribe the English audio clip into text.",
    "script": "Это было вчера вечером.",
    "loop": ("and so on " * 200, "length"),
    "length": (FIRST_SENTENCE, "length"),
    "rate": " ".join(f"word{n}" for n in range(400)),
}
"""A defective answer, by the defect that `assess` finds in it."""


def chunk(seconds: float = 40, index: int = 0, start: float = 0, **more) -> Chunk:
    """Return noise with a second of silence in its middle, all of it marked as speech."""
    samples = np.random.default_rng(1).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    middle = len(samples) // 2
    samples[middle - RATE // 2 : middle + RATE // 2] = 0
    first = int(start * RATE)
    fields = {"speech": (Span(first, first + len(samples)),)} | more
    return Chunk(index, samples, RATE, first, **fields)


ScriptedText = str | tuple[str, str] | Generation
AnswerScript = Callable[[Request], ScriptedText]


def make_answer(request: Request, scripted: ScriptedText, logprob: float = -0.2) -> Generation:
    """Make an answer from its text, or from its text and its finish reason."""
    text, finish = (scripted, "stop") if isinstance(scripted, str) else scripted
    count = len(text.split())
    return Generation(request, text, (1,) * count, (logprob,) * count, finish)


def answer_all(task: Task, chunks: list[Chunk], script: AnswerScript) -> list[Generation]:
    """Answer all requests of a task and its retries, as the pipeline does."""
    waiting = [request for each in chunks for request in task.requests(0, each)]
    answers = []
    while waiting:
        request = waiting.pop(0)
        answers.append(make_answer(request, script(request)))
        waiting += task.retry(answers[-1])
    return answers


def answer_by_attempt(
    first: ScriptedText, left: ScriptedText = "", right: ScriptedText = "", again: ScriptedText = ""
) -> AnswerScript:
    """Return a script with one text for the whole, each half, and the penalty attempt."""

    def script(request: Request) -> ScriptedText:
        if request.attempt == "first":
            return first
        if request.attempt == "penalty":
            return again
        return left if request.chunk.start == 0 else right

    return script


def attempt_names(answers: list[Generation]) -> list[str]:
    return [each.request.attempt for each in answers]


def transcribe_chunk(script: AnswerScript, piece: Chunk | None = None) -> Transcript:
    task = Transcribe("English")
    return task.assemble(answer_all(task, [piece or chunk()], script), 40)

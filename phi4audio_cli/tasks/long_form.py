"""One text about a whole recording, by map-reduce over parts of up to 30 minutes.

The model answers about each part. Text-only requests then join the part texts, in groups that fit
the prompt, level by level until one text is left.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from phi4audio_cli.formatting import format_timestamp
from phi4audio_cli.tasks.chunk_answers import chunk_of, rounded_logprob
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Chunk, FinishReason, Generation, Part, Request

MAX_PART_MINUTES = 30.0
"""Longest audio of one prompt in the model's training (22,500 audio tokens)."""

MAX_GROUP_CHARACTERS = 12_000
"""About 3,000 tokens, so that the prompt stays below the switch of LongRoPE."""

PART_LABEL = "part"


class LongFormTask(Task):
    """A task whose result is one text.

    Args:
        minutes: Longest part, at most 30.
        max_new_tokens: Budget of every answer.
        system: The system prompt.
    """

    keep_pauses = True
    format_error = "its text is about the whole recording and has no times"

    def __init__(
        self, minutes: float = MAX_PART_MINUTES, *, max_new_tokens: int, system: str = ""
    ) -> None:
        self.max_chunk_seconds = 60 * min(minutes, MAX_PART_MINUTES)
        self.max_new_tokens = max_new_tokens
        self.system = system

    @property
    @abstractmethod
    def prompt(self) -> str:
        """The prompt after the audio of each part."""

    @abstractmethod
    def joining_prompt(self, parts: str) -> str:
        """Return the prompt that joins the texts about the parts."""

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Return the request about one part."""
        yield Request(job, chunk, self.prompt, self.max_new_tokens, PART_LABEL, self.system)

    def follow_up(self, answers: Sequence[Generation]) -> Sequence[Request]:
        """Return requests that join each group of texts; none when one text is left."""
        level, parts = self._join_state(answers)
        if len(parts) < 2:
            return ()
        job = answers[0].request.job
        return [
            Request(
                job,
                None,
                self.joining_prompt(format_parts(group)),
                self.max_new_tokens,
                _join_label(level + 1),
                self.system,
            )
            for group in group_parts(parts)
            if len(group) > 1
        ]

    def parts(self, answers: Sequence[Generation]) -> tuple[Part, ...]:
        """Return the parts with a text."""
        about_parts = (answer for answer in answers if answer.request.label == PART_LABEL)
        return tuple(_part_from_answer(answer) for answer in about_parts if answer.text)

    def joined_text(self, answers: Sequence[Generation]) -> str:
        """Return the joined text; the texts of the parts if the joined answer is empty."""
        _, parts = self._join_state(answers)
        return "\n".join(part.text for part in parts or self.parts(answers))

    def finish_reason(self, answers: Sequence[Generation]) -> FinishReason:
        """Return `length` if the token budget of any answer ran out."""
        return "length" if any(answer.finish == "length" for answer in answers) else "stop"

    def _join_state(self, answers: Sequence[Generation]) -> tuple[int, Sequence[Part]]:
        """Return the number of joined levels, and the texts that are left."""
        level: int = 0
        parts: Sequence[Part] = self.parts(answers)
        while joins := [each for each in answers if each.request.label == _join_label(level + 1)]:
            level += 1
            parts = list(_replace_groups(group_parts(parts), iter(joins)))
        return level, parts


def group_parts(parts: Iterable[Part]) -> list[list[Part]]:
    """Group neighbours that fit one prompt; at least two, so that the number of texts falls."""
    groups: list[list[Part]] = []
    size = 0
    for part in parts:
        size += len(part.text)
        if not groups or (size > MAX_GROUP_CHARACTERS and len(groups[-1]) > 1):
            groups.append([])
            size = len(part.text)
        groups[-1].append(part)
    return groups


def format_parts(parts: Iterable[Part]) -> str:
    """Return texts with their times, as they are put into the prompt."""
    return "\n\n".join(
        f"{format_timestamp(part.start)} to {format_timestamp(part.end)}:\n{part.text}"
        for part in parts
    )


def _join_label(level: int) -> str:
    return f"joined {level}"


def _part_from_answer(answer: Generation) -> Part:
    chunk = chunk_of(answer)
    return Part(
        chunk.start_seconds,
        chunk.stop_seconds,
        answer.text,
        rounded_logprob(answer),
        answer.finish,
    )


def _replace_groups(
    groups: Iterable[Sequence[Part]], joins: Iterator[Generation]
) -> Iterator[Part]:
    """Yield the joined text of each group; a group of one part is not joined."""
    for group in groups:
        if len(group) == 1:
            yield group[0]
        elif text := next(joins).text:
            yield Part(group[0].start, group[-1].end, text)

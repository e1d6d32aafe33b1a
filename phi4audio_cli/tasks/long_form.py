"""One text about a whole recording, by map-reduce over parts of up to 30 minutes.

The model answers about each part. Its text side then joins the part texts, in groups that fit the
prompt, level by level until one text is left.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from phi4audio_cli.tasks.chunk_answers import chunk_of, rounded_logprob
from phi4audio_cli.tasks.task import Task
from phi4audio_cli.types import Chunk, FinishReason, Generation, Part, Request

MAX_PART_MINUTES = 30.0
"""The model was trained to hear up to 30 minutes at once (22,500 audio tokens)."""

MAX_GROUP_CHARACTERS = 12_000
"""About 3,000 tokens, so that the model reads them before LongRoPE's switch."""

PART_LABEL = "part"


class LongFormTask(Task):
    """A task whose result is one text.

    Args:
        minutes: Longest stretch heard at once, at most 30.
        max_new_tokens: Budget of every answer.
        system: What the model is told before the user's turn.
    """

    keep_pauses = True
    format_error = "its text belongs to the whole recording, so there are no times to show it at"

    def __init__(
        self, minutes: float = MAX_PART_MINUTES, *, max_new_tokens: int, system: str = ""
    ) -> None:
        self.max_chunk_seconds = 60 * min(minutes, MAX_PART_MINUTES)
        self.max_new_tokens = max_new_tokens
        self.system = system

    @property
    @abstractmethod
    def prompt(self) -> str:
        """What is said after each part of the audio."""

    @abstractmethod
    def joining_prompt(self, parts: str) -> str:
        """Return what is said to make one text of those about the parts."""

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Ask about one part."""
        yield Request(job, chunk, self.prompt, self.max_new_tokens, PART_LABEL, self.system)

    def follow_up(self, answers: Sequence[Generation]) -> Sequence[Request]:
        """Ask for one text about each group of parts, and about those, until one is left."""
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
        """Return what was said of each part, those with nothing said left out."""
        of_parts = (answer for answer in answers if answer.request.label == PART_LABEL)
        return tuple(_part_from_answer(answer) for answer in of_parts if answer.text)

    def joined_text(self, answers: Sequence[Generation]) -> str:
        """Return the one text that is left; the parts' texts where nothing came of joining."""
        _, parts = self._join_state(answers)
        return "\n".join(part.text for part in parts or self.parts(answers))

    def finish_reason(self, answers: Sequence[Generation]) -> FinishReason:
        """Return whether the budget of any answer ran out."""
        return "length" if any(answer.finish == "length" for answer in answers) else "stop"

    def _join_state(self, answers: Sequence[Generation]) -> tuple[int, Sequence[Part]]:
        """Return how often texts were joined so far, and the texts that are left."""
        level: int = 0
        parts: Sequence[Part] = self.parts(answers)
        while joins := [each for each in answers if each.request.label == _join_label(level + 1)]:
            level += 1
            parts = list(_replace_groups(group_parts(parts), iter(joins)))
        return level, parts


def group_parts(parts: Iterable[Part]) -> list[list[Part]]:
    """Group neighbours that can be read at once: two at least, so that joining comes to an end."""
    found: list[list[Part]] = []
    size = 0
    for part in parts:
        size += len(part.text)
        if not found or (size > MAX_GROUP_CHARACTERS and len(found[-1]) > 1):
            found.append([])
            size = len(part.text)
        found[-1].append(part)
    return found


def format_parts(parts: Iterable[Part]) -> str:
    """Return texts with their times, as the model reads them."""
    return "\n\n".join(
        f"{format_timestamp(part.start)} to {format_timestamp(part.end)}:\n{part.text}"
        for part in parts
    )


def format_timestamp(seconds: float) -> str:
    """Say a time in a recording: `0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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


def _replace_groups(found: Iterable[Sequence[Part]], joins: Iterator[Generation]) -> Iterator[Part]:
    """Put the joined text in place of each group; a group of one stands for itself."""
    for group in found:
        if len(group) == 1:
            yield group[0]
        elif text := next(joins).text:
            yield Part(group[0].start, group[-1].end, text)

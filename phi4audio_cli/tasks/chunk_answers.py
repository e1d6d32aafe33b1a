"""Answers about one chunk of audio: their token budget and their grouping by chunk."""

from __future__ import annotations

import math
from collections.abc import Iterable

from phi4audio_cli.types import Chunk, Generation

TOKENS_PER_SECOND = 15
"""Far above speech: fast speakers reach about 5 words a second."""

EXTRA_TOKENS = 64

LOGPROB_DIGITS = 3
"""Further digits depend on the composition of batches."""


def token_budget(chunk: Chunk) -> int:
    """Return the largest number of tokens that the speech in a chunk can take."""
    return EXTRA_TOKENS + math.ceil(TOKENS_PER_SECOND * chunk.seconds)


def chunk_of(answer: Generation) -> Chunk:
    """Return the chunk of an answer's request.

    Raises:
        ValueError: The request had text only.
    """
    chunk = answer.request.chunk
    if chunk is None:
        raise ValueError("the answer is about text and has no chunk")
    return chunk


def group_by_chunk(answers: Iterable[Generation]) -> list[list[Generation]]:
    """Return the answers about each chunk and its halves, in the order of the chunks."""
    groups: dict[int, list[Generation]] = {}
    for answer in answers:
        groups.setdefault(chunk_of(answer).index, []).append(answer)
    return [group for _, group in sorted(groups.items())]


def rounded_logprob(answer: Generation) -> float | None:
    """Return the answer's mean log-probability without digits that depend on batching."""
    logprob = answer.avg_logprob
    return None if logprob is None else round(logprob, LOGPROB_DIGITS)

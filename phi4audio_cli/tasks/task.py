"""What a task is: which requests a chunk makes, and how the answers become one result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from phi4audio_cli.types import Chunk, Generation, Request, Transcript


class Task(Protocol):
    """One thing that can be asked of a recording."""

    @property
    def max_chunk_seconds(self) -> float:
        """Longest chunk the model can take for this task, in seconds."""
        ...

    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Return what is asked about one chunk of the recording `job`."""
        ...

    def assemble(self, answers: Sequence[Generation], seconds: float) -> Transcript:
        """Put a recording's answers together.

        Args:
            answers: In the order of their chunks.
            seconds: Length of the recording.
        """
        ...

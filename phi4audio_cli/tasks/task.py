"""What a task is: which requests a chunk makes, and how the answers become one result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from phi4audio_cli.types import Chunk, Generation, Request, Result


class Task(ABC):
    """One thing that can be asked of a recording."""

    max_chunk_seconds: float
    """Longest chunk the model can take for this task, in seconds."""
    keep_pauses: bool = False
    """Whether chunks are as long as they can be, cut at quiet places; else as speech allows."""
    variants: tuple[str, ...] = ("",)
    """What stands between an output's name and its format (`fr` in talk.fr.srt), one a document."""
    formats: tuple[str, ...] | None = None
    """Formats the result can be written in; None: all that show times."""
    format_error: str = ""
    """Why the other formats can't be had, in a user's words."""

    @abstractmethod
    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Return what is asked about one chunk of the recording `job`.

        Requests that share a chunk also share one pass of the audio encoder.
        """

    def retry(self, answer: Generation) -> Sequence[Request]:
        """Look at an answer that just came, and return what to ask beside it, if anything.

        This is the last moment at which the chunk's samples are there. The answer itself stays
        among those that `assemble` gets.
        """
        return ()

    def follow_up(self, answers: Sequence[Generation]) -> Sequence[Request]:
        """Return what to ask when all answers so far are in; nothing: they can be assembled.

        Called again when those answers are in, with all of them.

        Args:
            answers: In the order their requests were made. Their chunks are silent stand-ins of
                the same length, so what is asked here must not have a chunk.
        """
        return ()

    @abstractmethod
    def assemble(self, answers: Sequence[Generation], seconds: float) -> Result:
        """Put a recording's answers together.

        Args:
            answers: In the order their requests were made, those of a chunk after those of the
                chunks before it, except what `retry` and `follow_up` asked for.
            seconds: Length of the recording.
        """

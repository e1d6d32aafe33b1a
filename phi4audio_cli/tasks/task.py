"""The interface of a task: requests about each chunk, and one result from all answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from phi4audio_cli.types import Chunk, Generation, Request, Result


class Task(ABC):
    """An operation on one recording, such as transcription or a summary."""

    max_chunk_seconds: float
    """Longest chunk that the model takes for this task, in seconds."""
    keep_pauses: bool = False
    """True: chunks are as long as possible and cut at quiet places; False: cut around speech."""
    variants: tuple[str, ...] = ("",)
    """Part of each output's name before its format (`fr` in talk.fr.srt), one per document."""
    formats: tuple[str, ...] | None = None
    """Formats of the result; None: all formats that show times."""
    format_error: str = ""
    """Reason why the other formats are not available, for the user."""

    @abstractmethod
    def requests(self, job: int, chunk: Chunk) -> Iterable[Request]:
        """Return the requests about one chunk of the recording `job`.

        Requests that share a chunk also share one pass of the audio encoder.
        """

    def retry(self, answer: Generation) -> Sequence[Request]:
        """Return further requests about the chunk of a new answer, if the answer is defective.

        The samples of the chunk are available only here. `assemble` gets this answer, too.
        """
        return ()

    def follow_up(self, answers: Sequence[Generation]) -> Sequence[Request]:
        """Return requests that depend on all answers so far; none: the result can be assembled.

        The pipeline calls this again with the old and the new answers.

        Args:
            answers: In the order of their requests. The samples of their chunks are replaced by
                silence of the same length, so these requests must not have a chunk.
        """
        return ()

    @abstractmethod
    def assemble(self, answers: Sequence[Generation], seconds: float) -> Result:
        """Make one result from the answers about a recording.

        Args:
            answers: In the order of their requests: chunk by chunk, then those of `retry` and
                `follow_up`.
            seconds: Length of the recording.
        """

"""A request as the scheduler keeps it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from phi4audio_cli.model.batch_decoder import RunningSequence
from phi4audio_cli.model.inputs import ModelInput
from phi4audio_cli.types import ENCODER_WINDOW_SECONDS, Request


class RequestState(enum.Enum):
    """State of a request in the scheduler."""

    WAITING = enum.auto()
    RUNNING = enum.auto()
    FINISHED = enum.auto()
    """Answered, or failed for good."""


@dataclass(slots=True, eq=False)
class ScheduledRequest:
    """A request in the scheduler."""

    request: Request
    model_input: ModelInput
    state: RequestState = RequestState.WAITING
    sequence: RunningSequence | None = None
    """Set while it is running."""
    run_alone: bool = False
    """Whether a batch with it failed, so that it is retried alone."""
    hit_oom: bool = False
    """Whether memory ran out while it was running."""

    @property
    def is_long(self) -> bool:
        """Whether its passes are so long that the user sees a status."""
        chunk = self.request.chunk
        return chunk is not None and chunk.seconds > ENCODER_WINDOW_SECONDS

    @property
    def is_done(self) -> bool:
        """Whether its sequence has ended."""
        return self.sequence is not None and self.sequence.done

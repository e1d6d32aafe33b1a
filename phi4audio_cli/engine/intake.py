"""How the engine gets at recordings: where they lie, which channels are heard, who decodes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from phi4audio_cli.audio.decode import OpenAudio, open_audio
from phi4audio_cli.audio.reading import Reader
from phi4audio_cli.types import Channel, Job

Channels: TypeAlias = Channel | Literal["split"]
"""A channel; `split`: left and right, one after the other, each with a speaker of its own."""

Voice: TypeAlias = tuple[Channel, str | None]
"""A channel to hear, and who speaks on it; None: it is not one speaker's."""

Fetch: TypeAlias = Callable[[Job], AbstractContextManager[Path]]
"""Gives the file of a recording for as long as it is needed."""


def from_disk(job: Job) -> AbstractContextManager[Path]:
    """Take a recording where it lies."""
    return nullcontext(job.source)


@dataclass(frozen=True, slots=True)
class Intake:
    """What is heard of a recording, and how."""

    fetch: Fetch = from_disk
    open: OpenAudio = open_audio
    """How they are opened where there are no readers: then they are read in this process."""
    channels: Channels = "mix"
    track: int | None = None
    """Which audio stream of a container, from 0; None: the first."""
    readers: Sequence[Reader] = ()
    """What reads them: as many at the same time as there are readers."""

    @property
    def voices(self) -> tuple[Voice, ...]:
        """What is heard, one after the other."""
        if self.channels == "split":
            return (("left", "left"), ("right", "right"))
        return ((self.channels, None),)

"""How the engine gets at recordings: where they lie, which channels are heard, who decodes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from phi4audio_cli.audio.decode import OpenAudio, open_audio
from phi4audio_cli.types import Channel, Job, Samples

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
    channels: Channels = "mix"
    track: int | None = None
    """Which audio stream of a container, from 0; None: the first."""

    @property
    def voices(self) -> tuple[Voice, ...]:
        """What is heard, one after the other."""
        if self.channels == "split":
            return (("left", "left"), ("right", "right"))
        return ((self.channels, None),)


class Counted:
    """Blocks on their way to the cutter: counts their samples, and looks whether to go on.

    Args:
        blocks: Of a recording.
        check: Called before each; raises where the run is to end.
    """

    def __init__(self, blocks: Iterable[Samples], check: Callable[[], None]) -> None:
        self._blocks = blocks
        self._check = check
        self.samples = 0

    def __iter__(self) -> Iterator[Samples]:
        for block in self._blocks:
            self._check()
            self.samples += len(block)
            yield block

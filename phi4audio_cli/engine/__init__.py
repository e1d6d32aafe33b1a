"""Jobs in, events out: the one way of the data, for every task."""

from phi4audio_cli.engine.backend import Backend
from phi4audio_cli.engine.flow import Cutter, run
from phi4audio_cli.engine.scripted import ScriptedBackend

__all__ = ["Backend", "Cutter", "ScriptedBackend", "run"]

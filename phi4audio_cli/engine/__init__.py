"""Jobs in, events out: the one way of the data, for every task."""

from phi4audio_cli.audio.reading import Cutter
from phi4audio_cli.engine.backend import Backend, Stop, never
from phi4audio_cli.engine.flow import run
from phi4audio_cli.engine.intake import Intake
from phi4audio_cli.engine.memory import Memory
from phi4audio_cli.engine.scripted import ScriptedBackend

__all__ = ["Backend", "Cutter", "Intake", "Memory", "ScriptedBackend", "Stop", "never", "run"]

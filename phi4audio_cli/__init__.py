"""phi4audio: transcripts, translations, subtitles and summaries with Phi-4-Audio.

The public names below are imported on first use, so that `import phi4audio_cli` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phi4audio_cli.backend_loader import Listener
    from phi4audio_cli.errors import (
        AudioError,
        FileError,
        ModelError,
        OutputError,
        Phi4AudioError,
        UsageError,
    )
    from phi4audio_cli.session import Session
    from phi4audio_cli.settings import Settings
    from phi4audio_cli.types import (
        Answer,
        AudioArray,
        ChunkDone,
        Event,
        FileDone,
        FileFailed,
        FileStarted,
        Segment,
        Summary,
        Transcript,
        Translation,
        Translations,
        Word,
    )

__version__ = "0.2.0"

_MODULES = {
    "backend_loader": ("Listener",),
    "errors": (
        "AudioError",
        "FileError",
        "ModelError",
        "OutputError",
        "Phi4AudioError",
        "UsageError",
    ),
    "session": ("Session",),
    "settings": ("Settings",),
    "types": (
        "Answer",
        "AudioArray",
        "ChunkDone",
        "Event",
        "FileDone",
        "FileFailed",
        "FileStarted",
        "Segment",
        "Summary",
        "Transcript",
        "Translation",
        "Translations",
        "Word",
    ),
}

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Answer",
    "AudioArray",
    "AudioError",
    "ChunkDone",
    "Event",
    "FileDone",
    "FileError",
    "FileFailed",
    "FileStarted",
    "Listener",
    "ModelError",
    "OutputError",
    "Phi4AudioError",
    "Segment",
    "Session",
    "Settings",
    "Summary",
    "Transcript",
    "Translation",
    "Translations",
    "UsageError",
    "Word",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # By name, so that import-linter sees no import from the package to its own layers.
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__

"""The libraries that count, loaded when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from phi4audio_cli.errors import UsageError


def need(name: str) -> Any:
    """Import a library of the `eval` extra.

    Raises:
        UsageError: It is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = "pip install 'phi4audio[eval]'"
        raise UsageError(f"needs {name}, which is not installed", "eval", remedy) from error

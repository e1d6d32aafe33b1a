"""Notes when a process of `bench_startup.py` did what, and ends it at the last step."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import NoReturn

STEPS: dict[str, float] = {}


def mark(step: str) -> None:
    """Note that a step is done, the first time."""
    STEPS.setdefault(step, time.time() - float(os.environ["STARTED"]))


def end(step: str) -> NoReturn:
    """Note the last step, print all, and end the process."""
    mark(step)
    STEPS["processor"] = time.process_time()
    sys.__stdout__.write(json.dumps(STEPS) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]
    os._exit(0)

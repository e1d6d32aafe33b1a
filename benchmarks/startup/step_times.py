"""Record the time of each start-up step, and end the process after the last one."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import NoReturn

STEPS: dict[str, float] = {}


def record_step(step: str) -> None:
    """Record the first end of a step."""
    STEPS.setdefault(step, time.time() - float(os.environ["STARTED"]))


def finish(step: str) -> NoReturn:
    """Record the last step, print all, and end the process."""
    record_step(step)
    STEPS["processor"] = time.process_time()
    sys.__stdout__.write(json.dumps(STEPS) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]
    os._exit(0)

"""The time budget of a phase: progress, learning rate and saved state."""

from __future__ import annotations

import logging
import math
import time
from multiprocessing import Value
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from training.spoken_digits import data_parallel

log = logging.getLogger(__name__)

_SAVE_EVERY = 180.0
_WARM_UP_STEPS = 150
_LAST_SHARE = 0.02  # of the learning rate, at the end


class TrainingClock:
    """Measures a phase against its time budget; its state is part of the phase's state file.

    The schedule follows time and not steps, because the speed of the machine is unknown.
    """

    def __init__(self, name: str, minutes: float, decay_from: float = 0.0) -> None:
        """Set up a phase.

        Args:
            name: for the log.
            minutes: time budget of all runs together.
            decay_from: share of the time after which the learning rate falls, as a cosine.
        """
        self.name, self.budget, self.decay_from = name, 60.0 * minutes, decay_from
        self.step, self.progress = 0, Value("d", 0.0)
        self._elapsed, self._last = 0.0, time.monotonic()
        self._saved, self._mean_loss = 0.0, 0.0

    @property
    def is_over(self) -> bool:
        """True once the budget is used up."""
        return bool(self.progress.value >= 1.0)

    @property
    def elapsed(self) -> float:
        """Seconds trained so far, all runs together."""
        return self._elapsed

    def reset_timer(self) -> None:
        """Ignore the time since the last step."""
        self._last = time.monotonic()

    def set_rate(self, optimizer: Optimizer, rate: float) -> None:
        """Set the learning rate for the next step."""
        late = max(0.0, self.progress.value - self.decay_from) / (1.0 - self.decay_from)
        share = _LAST_SHARE + (1.0 - _LAST_SHARE) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, late)))
        warm = min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate * share * warm

    def synchronize(self, elapsed: float) -> None:
        """Take over the common time, so that all processes stop at the same step."""
        self._elapsed = elapsed
        self.progress.value = min(1.0, elapsed / max(self.budget, 1e-9))

    def count_step(self, loss: float, note: str = "") -> bool:
        """Count a step; return whether it is time to save."""
        now = time.monotonic()
        self._elapsed += now - self._last
        self._last = now
        self.step += 1
        self._mean_loss = loss if self.step == 1 else 0.95 * self._mean_loss + 0.05 * loss
        if self.step % 20 == 0 and data_parallel.rank() == 0:
            minutes = self._elapsed / 60.0
            log.info(
                "%s step %d, %.1f min: loss %.3f, mean %.3f %s",
                self.name, self.step, minutes, loss, self._mean_loss, note,
            )  # fmt: skip
        due = self._elapsed - self._saved > _SAVE_EVERY
        self._saved = self._elapsed if due else self._saved
        return due

    def save(self, path: Path, module: nn.Module, optimizer: Optimizer) -> None:
        """Write the phase's state atomically."""
        state = {
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": self.step,
            "elapsed": self._elapsed,
        }
        if data_parallel.rank() > 0:
            return
        temporary = path.with_suffix(".part")
        torch.save(state, temporary)
        temporary.replace(path)
        self.reset_timer()

    def restore(self, path: Path, module: nn.Module, optimizer: Optimizer) -> None:
        """Continue from the state file, if there is one."""
        if path.exists():
            state = torch.load(path, weights_only=True)
            module.load_state_dict(state["module"])
            optimizer.load_state_dict(state["optimizer"])
            self.step, self._elapsed = state["step"], state["elapsed"]
            self._saved = self._elapsed
            self.progress.value = min(1.0, self._elapsed / max(self.budget, 1e-9))
            minutes = self._elapsed / 60.0
            log.info("%s continues after %d steps, %.1f min", self.name, self.step, minutes)
        self.reset_timer()

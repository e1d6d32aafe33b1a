"""Run `phi4audio transcribe` up to its first chunk: FOLDER CLIP DTYPE OUT."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NoReturn

from benchmarks.startup.step_times import finish, record_step

HOOKED_MODULE = "phi4audio_cli.model.torch_backend"


class ImportHook(importlib.abc.MetaPathFinder):
    """Records steps of the module that loads the model."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the module as usual; its loader then calls `hook_module`."""
        if name != HOOKED_MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            hook_module(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def hook_module(local: Any) -> None:
    """Record the steps of the module."""
    from phi4audio_cli.network.encoder import AudioEncoder

    record_step("imported")
    local.open_checkpoint = record_after(local.open_checkpoint, "opened")
    local.fill = record_after(local.fill, "weights in")
    setattr(AudioEncoder, "forward", stop_at_encoder)  # noqa: B010


def record_after(function: Callable[..., Any], step: str) -> Callable[..., Any]:
    """Return a function that records a step at its end."""

    def recorded(*given: Any, **named: Any) -> Any:
        result = function(*given, **named)
        record_step(step)
        return result

    return recorded


def stop_at_encoder(*given: object) -> NoReturn:
    """End the process in place of the encoder."""
    finish("first chunk")


def main() -> None:
    """Run the command."""
    folder, clip, dtype, out = sys.argv[1:5]
    sys.meta_path.insert(0, ImportHook())
    from phi4audio_cli.cli.app import main as run

    run(["transcribe", clip, "--model", folder, "--device", "cpu", "--dtype", dtype, "-o", out])


if __name__ == "__main__":  # spawned readers import this file, too
    main()

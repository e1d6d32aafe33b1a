"""Whether the model is here, whole, and able to listen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from phi4audio_cli.checkpoint.resolve import DEMO, resolve
from phi4audio_cli.checks.check import Check, attempt, failed
from phi4audio_cli.checks.device import memory
from phi4audio_cli.checks.hub import on_the_hub
from phi4audio_cli.checks.listening import reference, sample
from phi4audio_cli.errors import ModelError
from phi4audio_cli.types import Chunk, Generation, Unanswered

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint import Checkpoint
    from phi4audio_cli.settings import Settings

GOLDEN = "short"
"""The bundled recording that the demo checkpoint must hear right."""


def model(settings: Settings) -> Iterator[Check]:
    """Find the model, look into its files, and let it listen where it is the demo."""
    try:
        folder = resolve(settings.model, offline=True)
    except ModelError as missing:
        yield from _absent(settings, missing)
        return
    yield Check("model", "ok", f"{settings.model} in {folder}")
    yield Check("offline", "ok", "nothing is needed from the network")
    try:
        checkpoint = _opened(folder, settings)
    except Exception as error:  # whatever is broken is told, and the rest can't be looked at
        yield failed("checkpoint", error)
        return
    millions = checkpoint.audio_parameters / 1e6
    yield Check("checkpoint", "ok", f"{checkpoint.layout} layout, {millions:,.1f} M parameters")
    yield _adapter(checkpoint)
    fits = attempt("memory", lambda: memory(settings, checkpoint))
    yield fits
    if fits.status != "fail" and folder.samefile(resolve(DEMO, offline=True)):
        yield attempt("listening", lambda: _listening(folder, settings))


def _absent(settings: Settings, missing: ModelError) -> Iterator[Check]:
    found = failed("model", missing)
    if not settings.offline:
        found = on_the_hub(settings.model, missing)
    yield found
    if found.status == "warn":
        yield Check("offline", "warn", "the model is to be downloaded first", missing.remedy)


def _opened(folder: Path, settings: Settings) -> Checkpoint:
    """Open all that a job reads of a checkpoint; of its weights the headers only.

    Raises:
        CheckpointError: Something is missing or not what it must be.
    """
    from phi4audio_cli.checkpoint import open_checkpoint
    from phi4audio_cli.model.inputs import InputBuilder

    checkpoint = open_checkpoint(folder, adapter=settings.adapter)
    InputBuilder.from_folder(folder)
    return checkpoint


def _adapter(checkpoint: Checkpoint) -> Check:
    """Say where the speech LoRA is; one that is missing or zero is refused on opening."""
    adapter = checkpoint.adapter
    if adapter is None:
        return Check("speech LoRA", "ok", "merged into the weights")
    layers = f"rank {adapter.rank} on {len(adapter.pairs)} layers, not zero"
    return Check("speech LoRA", "ok", f"{layers}; merged while loading, from {adapter.where}")


def _listening(folder: Path, settings: Settings) -> Check:
    """Transcribe a clip whose text is known."""
    from phi4audio_cli.model.local import open_local_backend
    from phi4audio_cli.tasks.transcribe import Transcribe

    backend = open_local_backend(
        folder,
        adapter=settings.adapter,
        device=settings.device,
        dtype=settings.dtype,
        attention=settings.attention,
        quantize=settings.quantize,
    )
    samples, rate = sample(GOLDEN)
    requests = Transcribe(language="English").requests(0, Chunk(0, samples, rate, 0))
    return _compared(list(backend.generate(requests)), reference(GOLDEN))


def _compared(answers: list[Generation | Unanswered], said: str) -> Check:
    for answer in answers:
        if isinstance(answer, Unanswered):
            raise answer.error
    told = " ".join(answer.text for answer in answers if isinstance(answer, Generation))
    if told.lower().split() == said.lower().split():
        return Check("listening", "ok", f"a clip is heard right: {told}")
    return Check(
        "listening",
        "fail",
        f"a clip that says {said!r} is heard as {told!r}",
        "try --device cpu --dtype float32; where that is wrong too, install phi4audio again",
    )

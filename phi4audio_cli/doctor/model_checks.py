"""Check that the model is present or downloadable, complete, and transcribes a known clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from phi4audio_cli.checkpoint.hub import DEMO_MODEL, resolve_model
from phi4audio_cli.doctor.audio_checks import bundled_reference, bundled_sample
from phi4audio_cli.doctor.device_checks import check_memory
from phi4audio_cli.doctor.environment_checks import Check, failed_check, run_check
from phi4audio_cli.errors import ModelError
from phi4audio_cli.types import Chunk, Generation, RequestFailed

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint import Checkpoint
    from phi4audio_cli.settings import Settings
import shutil

from phi4audio_cli.checkpoint.hub import HUB_TIMEOUT_SECONDS, required_files
from phi4audio_cli.doctor.environment_checks import format_bytes, nearest_existing

REFERENCE_CLIP = "short"
"""The bundled recording that the demo checkpoint must hear right."""


def check_model(settings: Settings) -> Iterator[Check]:
    """Find the model, look into its files, and let it listen where it is the demo."""
    try:
        folder = resolve_model(settings.model, offline=True)
    except ModelError as missing:
        yield from _check_missing_model(settings, missing)
        return
    yield Check("model", "ok", f"{settings.model} in {folder}")
    yield Check("offline", "ok", "nothing is needed from the network")
    try:
        checkpoint = _open_checkpoint_files(folder, settings)
    except Exception as error:  # whatever is broken is told, and the rest can't be looked at
        yield failed_check("checkpoint", error)
        return
    millions = checkpoint.audio_parameters / 1e6
    yield Check("checkpoint", "ok", f"{checkpoint.layout} layout, {millions:,.1f} M parameters")
    yield _check_adapter(checkpoint)
    fits = run_check("memory", lambda: check_memory(settings, checkpoint))
    yield fits
    if fits.status != "fail" and folder.samefile(resolve_model(DEMO_MODEL, offline=True)):
        yield run_check("listening", lambda: _check_transcription(settings))


def _check_missing_model(settings: Settings, missing: ModelError) -> Iterator[Check]:
    found = failed_check("model", missing)
    if not settings.offline:
        found = check_hub(settings.model, missing)
    yield found
    if found.status == "warn":
        yield Check("offline", "warn", "the model is to be downloaded first", missing.remedy)


def _open_checkpoint_files(folder: Path, settings: Settings) -> Checkpoint:
    """Open all that a job reads of a checkpoint; of its weights the headers only.

    Raises:
        CheckpointError: Something is missing or not what it must be.
    """
    from phi4audio_cli.checkpoint import open_checkpoint
    from phi4audio_cli.model.inputs import InputBuilder

    checkpoint = open_checkpoint(folder, adapter=settings.adapter)
    InputBuilder.from_folder(folder)
    return checkpoint


def _check_adapter(checkpoint: Checkpoint) -> Check:
    """Say where the speech LoRA is; one that is missing or zero is refused on opening."""
    adapter = checkpoint.adapter
    if adapter is None:
        return Check("speech LoRA", "ok", "merged into the weights")
    layers = f"rank {adapter.rank} on {len(adapter.pairs)} layers, not zero"
    return Check("speech LoRA", "ok", f"{layers}; merged while loading, from {adapter.source}")


def _check_transcription(settings: Settings) -> Check:
    """Transcribe a clip whose text is known."""
    from phi4audio_cli.backend_loader import load_backend
    from phi4audio_cli.tasks.transcribe_task import Transcribe

    backend = load_backend(settings)
    samples, rate = bundled_sample(REFERENCE_CLIP)
    requests = Transcribe(language="English").requests(0, Chunk(0, samples, rate, 0))
    return _compare_transcript(list(backend.generate(requests)), bundled_reference(REFERENCE_CLIP))


def _compare_transcript(answers: list[Generation | RequestFailed], said: str) -> Check:
    for answer in answers:
        if isinstance(answer, RequestFailed):
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


def check_hub(model: str, missing: ModelError) -> Check:
    """Ask the hub for a model.

    Args:
        model: As the user called it.
        missing: Why it isn't here, with what to do.
    """
    from huggingface_hub import HfApi, constants

    repo, _, revision = model.partition("@")
    if repo.count("/") != 1 or model.startswith((".", "/", "~")):
        return failed_check("model", missing)  # a folder was meant
    try:
        info = HfApi().model_info(
            repo, revision=revision or None, files_metadata=True, timeout=HUB_TIMEOUT_SECONDS
        )
    except Exception as error:  # which classes a broken network raises depends on the version
        reason = (str(error) or type(error).__name__).splitlines()[0]
        what = f"{model}: isn't on this machine, and the hub doesn't give it: {reason}"
        return Check("model", "fail", what, missing.remedy)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    total = sum(sizes[name] for name in required_files(sizes, inline_lora=False))
    free = shutil.disk_usage(nearest_existing(Path(constants.HF_HUB_CACHE))).free
    if free < total:
        what = f"{model}: the download needs {format_bytes(total)}, {format_bytes(free)} are free"
        return Check("model", "fail", what, "make room, or set HF_HOME to a larger disk")
    what = f"{model}: isn't on this machine; a job would download {format_bytes(total)} first"
    return Check("model", "warn", what, missing.remedy)

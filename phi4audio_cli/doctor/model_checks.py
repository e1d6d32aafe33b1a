"""Check that the model is present or downloadable, complete, and transcribes a known clip."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from phi4audio_cli import __version__
from phi4audio_cli.checkpoint.hub import (
    DEMO_MODEL,
    HUB_TIMEOUT_SECONDS,
    required_files,
    resolve_model,
)
from phi4audio_cli.doctor.audio_checks import bundled_reference, bundled_sample
from phi4audio_cli.doctor.device_checks import check_memory
from phi4audio_cli.doctor.environment_checks import Check, check_versions, failed_check, run_check
from phi4audio_cli.errors import ModelError, NetworkError, Phi4AudioError
from phi4audio_cli.formatting import format_bytes
from phi4audio_cli.storage import nearest_existing
from phi4audio_cli.types import Chunk, Generation, RequestFailed

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint import Checkpoint
    from phi4audio_cli.settings import Settings

REFERENCE_CLIP = "short"
"""The bundled recording that the demo checkpoint transcribes without errors."""


def check_model(settings: Settings) -> Iterator[Check]:
    """Find the model, check its files and its memory, and transcribe a clip with the demo."""
    try:
        folder = resolve_model(settings.model, offline=True)
    except ModelError as missing:
        yield from _check_missing_model(settings, missing)
        return
    yield Check("model", "ok", f"{settings.model} in {folder}")
    yield Check("offline", "ok", "no network is needed")
    try:
        checkpoint = _open_checkpoint_files(folder, settings)
    except Exception as error:  # the report must show every error; later checks need the checkpoint
        yield failed_check("checkpoint", error)
        return
    millions = checkpoint.audio_parameters / 1e6
    yield Check("checkpoint", "ok", f"{checkpoint.layout} layout, {millions:,.1f} M parameters")
    yield _check_adapter(checkpoint)
    fits = run_check("memory", lambda: check_memory(settings, checkpoint))
    yield fits
    if fits.status != "fail":
        yield run_check("listening", lambda: _check_transcription(folder, settings))


def _check_missing_model(settings: Settings, missing: ModelError) -> Iterator[Check]:
    found = failed_check("model", missing)
    if not settings.offline:
        found = check_hub(settings.model, missing)
    yield found
    if found.status == "warn":
        yield Check("offline", "warn", "the model must be downloaded first", missing.remedy)


def _open_checkpoint_files(folder: Path, settings: Settings) -> Checkpoint:
    """Open the files of a checkpoint as a job does, but read only the headers of its weights.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    from phi4audio_cli.checkpoint import open_checkpoint
    from phi4audio_cli.model.inputs import PromptBuilder

    checkpoint = open_checkpoint(folder, adapter=settings.adapter)
    PromptBuilder.from_folder(folder)
    return checkpoint


def _check_adapter(checkpoint: Checkpoint) -> Check:
    """Describe the speech LoRA; opening a checkpoint refuses one that is missing or zero."""
    adapter = checkpoint.adapter
    if adapter is None:
        return Check("speech LoRA", "ok", "merged into the weights")
    layers = f"rank {adapter.rank} on {len(adapter.pairs)} layers, not zero"
    return Check("speech LoRA", "ok", f"{layers}; merged while loading, from {adapter.source}")


def _check_transcription(folder: Path, settings: Settings) -> Check:
    """Transcribe a clip whose text is known, with the demo checkpoint.

    The demo is small, so that the network's code is checked on the device without loading another
    model. Adapter and quantization are those of the settings where the model is the demo.

    Raises:
        Phi4AudioError: The demo can't be loaded here.
    """
    demo = {"model": DEMO_MODEL, "offline": True}
    if not folder.samefile(resolve_model(DEMO_MODEL, offline=True)):
        demo |= {"adapter": None, "quantize": "none"}
    try:
        answers = _transcribe_clip(settings.model_copy(update=demo))
    except NetworkError as error:
        return _network_failure(error.what, settings)
    except Phi4AudioError:
        raise
    except Exception as error:
        what = f"the network can't be loaded: {type(error).__name__}: {error}"
        return _network_failure(what, settings)
    return _compare_transcript(answers, bundled_reference(REFERENCE_CLIP))


def _transcribe_clip(settings: Settings) -> list[Generation | RequestFailed]:
    from phi4audio_cli.backend_loader import load_backend
    from phi4audio_cli.tasks.transcribe_task import Transcribe

    backend = load_backend(settings)
    samples, rate = bundled_sample(REFERENCE_CLIP)
    requests = Transcribe(language="English").requests(0, Chunk(0, samples, rate, 0))
    return list(backend.generate(requests))


def _network_failure(what: str, settings: Settings) -> Check:
    """Return the failed check of a network whose code fails, with the most probable remedy."""
    unsupported = [check for check in check_versions() if check.status != "ok" and check.remedy]
    if unsupported:
        names = ", ".join(check.name for check in unsupported)
        remedy = f"another version of {names} is needed: {unsupported[0].remedy}"
    else:
        remedy = "this is a bug of phi4audio: report it with this output"
        if not settings.device.startswith("cpu"):
            remedy += "; --device cpu may work meanwhile"
    versions = f"phi4audio {__version__}, torch {metadata.version('torch')}"
    found = f"{versions}, --device {settings.device}: {what.splitlines()[0]}"
    return Check("listening", "fail", found, remedy)


def _compare_transcript(answers: list[Generation | RequestFailed], reference: str) -> Check:
    for answer in answers:
        if isinstance(answer, RequestFailed):
            raise answer.error
    text = " ".join(answer.text for answer in answers if isinstance(answer, Generation))
    if text.lower().split() == reference.lower().split():
        return Check("listening", "ok", f"a test clip is transcribed correctly: {text}")
    return Check(
        "listening",
        "fail",
        f"a test clip of {reference!r} is transcribed as {text!r}",
        "try --device cpu --dtype float32; if that fails, too, install phi4audio again",
    )


def check_hub(model: str, missing: ModelError) -> Check:
    """Check that a missing model can be downloaded from the hub and fits the disk.

    Args:
        model: Its name as given by the user.
        missing: The error of the search for the model, with its remedy.
    """
    from huggingface_hub import HfApi, constants

    repo, _, revision = model.partition("@")
    if repo.count("/") != 1 or model.startswith((".", "/", "~")):
        return failed_check("model", missing)  # the name of a folder
    try:
        info = HfApi().model_info(
            repo, revision=revision or None, files_metadata=True, timeout=HUB_TIMEOUT_SECONDS
        )
    except Exception as error:  # the classes of network errors depend on the library's version
        reason = (str(error) or type(error).__name__).splitlines()[0]
        what = f"{model}: isn't on this machine, and the hub gives no answer: {reason}"
        return Check("model", "fail", what, missing.remedy)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    total = sum(sizes[name] for name in required_files(sizes, inline_lora=False))
    free = shutil.disk_usage(nearest_existing(Path(constants.HF_HUB_CACHE))).free
    if free < total:
        what = f"{model}: the download needs {format_bytes(total)}, {format_bytes(free)} are free"
        return Check("model", "fail", what, "make room, or set HF_HOME to a larger disk")
    what = f"{model}: isn't on this machine; a job would download {format_bytes(total)} first"
    return Check("model", "warn", what, missing.remedy)

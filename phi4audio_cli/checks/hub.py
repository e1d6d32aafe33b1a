"""Whether a model that isn't here could be downloaded. Asks the hub; downloads nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from phi4audio_cli.checkpoint.resolve import TIMEOUT_SECONDS, needed_files
from phi4audio_cli.checks.check import Check, failed
from phi4audio_cli.checks.place import existing, gigabytes
from phi4audio_cli.errors import ModelError


def on_the_hub(model: str, missing: ModelError) -> Check:
    """Ask the hub for a model.

    Args:
        model: As the user called it.
        missing: Why it isn't here, with what to do.
    """
    from huggingface_hub import HfApi, constants

    repo, _, revision = model.partition("@")
    if repo.count("/") != 1 or model.startswith((".", "/", "~")):
        return failed("model", missing)  # a folder was meant
    try:
        info = HfApi().model_info(
            repo, revision=revision or None, files_metadata=True, timeout=TIMEOUT_SECONDS
        )
    except Exception as error:  # which classes a broken network raises depends on the version
        reason = (str(error) or type(error).__name__).splitlines()[0]
        what = f"{model}: isn't on this machine, and the hub doesn't give it: {reason}"
        return Check("model", "fail", what, missing.remedy)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    total = sum(sizes[name] for name in needed_files(sizes, inline_lora=False))
    free = shutil.disk_usage(existing(Path(constants.HF_HUB_CACHE))).free
    if free < total:
        what = f"{model}: the download needs {gigabytes(total)}, {gigabytes(free)} are free"
        return Check("model", "fail", what, "make room, or set HF_HOME to a larger disk")
    what = f"{model}: isn't on this machine; a job would download {gigabytes(total)} first"
    return Check("model", "warn", what, missing.remedy)

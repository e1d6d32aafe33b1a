"""The checks of `phi4audio doctor`, in the order in which they depend on each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from phi4audio_cli.doctor.environment_checks import Check, run_check

if TYPE_CHECKING:
    from phi4audio_cli.settings import Settings


def run_checks(settings: Settings) -> Iterator[Check]:
    """Look at everything a job with these settings needs; each check as it is made.

    Nothing is downloaded, and no check raises: what is wrong is what it says.
    """
    from phi4audio_cli.doctor.environment_checks import check_output_dir, check_versions

    yield from check_versions()
    yield run_check("writing", lambda: check_output_dir(settings.output_dir))
    try:
        from phi4audio_cli.doctor.audio_checks import check_decoding, check_speech_detection
        from phi4audio_cli.doctor.device_checks import check_device
        from phi4audio_cli.doctor.model_checks import check_model
    except ImportError as error:
        yield Check("packages", "fail", f"can't be loaded: {error}", "install phi4audio again")
        return
    yield run_check("decoding", check_decoding)
    if settings.vad:
        yield run_check("speech", check_speech_detection)
    found = run_check("device", lambda: check_device(settings))
    yield found
    yield from check_model(settings)

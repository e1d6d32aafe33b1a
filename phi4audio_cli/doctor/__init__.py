"""The checks of `phi4audio doctor`, each after those it depends on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from phi4audio_cli.doctor.environment_checks import Check, run_check

if TYPE_CHECKING:
    from phi4audio_cli.settings import Settings


def run_checks(settings: Settings) -> Iterator[Check]:
    """Check everything that a job with these settings needs, without downloads.

    Yields:
        Each check when it is finished; an error becomes a failed check.
    """
    from phi4audio_cli.doctor.environment_checks import check_output_dir, check_versions

    yield from check_versions()
    yield run_check("writing", lambda: check_output_dir(settings.output_dir))
    try:
        from phi4audio_cli.doctor.audio_checks import check_decoding, check_speech_detection
        from phi4audio_cli.doctor.device_checks import check_device
        from phi4audio_cli.doctor.model_checks import check_model
    except ImportError as error:
        yield Check("packages", "fail", f"can't be imported: {error}", "install phi4audio again")
        return
    yield run_check("decoding", check_decoding)
    if settings.vad:
        yield run_check("speech", check_speech_detection)
    yield run_check("device", lambda: check_device(settings))
    yield from check_model(settings)

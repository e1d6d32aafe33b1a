"""All checks, in the order in which they build on each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from phi4audio_cli.checks.check import Check, attempt

if TYPE_CHECKING:
    from phi4audio_cli.settings import Settings


def examine(settings: Settings) -> Iterator[Check]:
    """Look at everything a job with these settings needs; each check as it is made.

    Nothing is downloaded, and no check raises: what is wrong is what it says.
    """
    from phi4audio_cli.checks.place import writing
    from phi4audio_cli.checks.software import software

    yield from software()
    yield attempt("writing", lambda: writing(settings.output_dir))
    try:
        from phi4audio_cli.checks.device import device
        from phi4audio_cli.checks.listening import decoding, speech
        from phi4audio_cli.checks.model import model
    except ImportError as error:
        yield Check("packages", "fail", f"can't be loaded: {error}", "install phi4audio again")
        return
    yield attempt("decoding", decoding)
    if settings.vad:
        yield attempt("speech", speech)
    found = attempt("device", lambda: device(settings))
    yield found
    yield from model(settings)

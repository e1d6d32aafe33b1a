"""Whether failures are the recordings' fault, or the fault of the network's code."""

from __future__ import annotations

from phi4audio_cli.errors import FileError, NetworkError
from phi4audio_cli.model.oom import Failure, first_line

MAX_CONSECUTIVE_FAILURES = 10
"""Recordings that fail one after the other, without an answer in between, before the run ends."""


class FailureTracker:
    """Ends the run where its failures can't be caused by single recordings.

    Before any answer has succeeded, an exception of the network is a bug of ours. Afterwards the
    network is known to work, and only many recordings that fail in a row are.
    """

    def __init__(self) -> None:
        self._any_success = False
        self._failed_recordings: set[int] = set()
        """Recordings with a failed request since the last answer."""

    def succeeded(self) -> None:
        """Note an answer."""
        self._any_success = True
        self._failed_recordings.clear()

    def require_working_network(self, failure: Failure) -> None:
        """Check that a failure may be caused by its input.

        Raises:
            NetworkError: No answer has succeeded yet, and the failure is neither out of memory nor
                an error of the recording.
        """
        if self._any_success or failure.is_oom or isinstance(failure.error, FileError):
            return
        raise _network_error(failure.error, "before any answer") from failure.error

    def failed(self, recording: int, failure: Failure) -> None:
        """Note a request that failed alone.

        Args:
            recording: `ExportRequest.job`.
            failure: Not out of memory.

        Raises:
            NetworkError: Too many recordings failed in a row.
        """
        self._failed_recordings.add(recording)
        if len(self._failed_recordings) >= MAX_CONSECUTIVE_FAILURES:
            when = f"on {MAX_CONSECUTIVE_FAILURES} recordings in a row"
            raise _network_error(failure.error, when) from failure.error


def _network_error(error: Exception, when: str) -> NetworkError:
    return NetworkError(
        f"the network failed {when} with {type(error).__name__}: {first_line(error)}",
        remedy="no recording is the cause: run phi4audio doctor, and report what it prints",
    )

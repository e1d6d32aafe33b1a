"""Recordings decoded by libsndfile: WAV, FLAC, Ogg, MP3, AIFF, CAF and others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from phi4audio_cli.audio.audio_source import (
    Frames,
    LenientFile,
    NoAudioError,
    truncation,
)
from phi4audio_cli.audio.data_size import declared_share, patched_file, stale_wave_header

if TYPE_CHECKING:
    import numpy.typing as npt

FRAMES_PER_READ = 4096
"""A failed read loses its frames, so reads are short, frames."""

UNKNOWN_LENGTHS = (range(0x7FFF_0000, 0x8001_0000), range(0xFFFF_0000, 0x1_0000_0000))
"""Bytes that programs declare which write a WAV to a pipe: the largest signed or unsigned number,
or a little less; SoX, for example, 0x7FFFF000."""

LOG_TRUNCATED = re.compile(r"(?:data|SSND|Data Size *|riff|Riff size) : (\d+) \(should be (\d+)\)")
"""Line of libsndfile's log: bytes that a WAV, AIFF, AU, W64 or RF64 declares, and bytes present."""


class SoundfileSource:
    """A recording that libsndfile decodes.

    Args:
        file: Opened for reading, at its start.

    Raises:
        NoAudioError: libsndfile cannot read it, or finds no frame in it.
    """

    def __init__(self, file: BinaryIO) -> None:
        import soundfile

        self._decode_error = soundfile.LibsndfileError
        self._stale_header = stale_wave_header(file)
        self._declared_share = declared_share(file)
        try:
            self._file = soundfile.SoundFile(
                LenientFile(patched_file(file, self._stale_header) if self._stale_header else file)
            )
        except soundfile.LibsndfileError as error:
            raise NoAudioError(_error_text(error)) from error
        if self._file.frames <= 0:
            self._file.close()
            raise NoAudioError("no audio frames")
        # soundfile seeks after every read of a seekable file, and an MP3 decoder loses its bit
        # reservoir at each seek, which damages the audio after it.
        self._file.seekable = lambda: False
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.layout: tuple[str, ...] = ()
        """Names of the channels; empty if unknown."""
        self.seconds: float | None = self._file.frames / self.rate
        self.damage: str | None = None
        self.decoder_failed = False
        """Whether libsndfile failed before the end; known after the last frames."""

    def frames(self) -> Iterator[Frames]:
        """Decode; to be called once."""
        count = 0
        try:
            while len(frames := self._read()):
                count += len(frames)
                yield Frames(self.rate, frames, self.layout)
        except self._decode_error as error:
            self.damage = _error_text(error) or "decoding failed"
            self.decoder_failed = True
            return
        seconds = count / self.rate
        self.damage = (
            truncation(seconds, self.seconds)
            or truncation(seconds, self._declared_share and seconds * self._declared_share)
            or header_mismatch(self._file.extra_info, seconds)
            or self._stale_header_damage(seconds)
        )

    def _stale_header_damage(self, seconds: float) -> str | None:
        if self._stale_header is None:
            return None
        declared = seconds * self._stale_header.declared / self._stale_header.present
        return f"the header declares {declared:.1f} s, but {seconds:.1f} s were decoded"

    def _read(self) -> npt.NDArray[Any]:
        frames: npt.NDArray[Any] = self._file.read(FRAMES_PER_READ, dtype="float32", always_2d=True)
        return frames

    def close(self) -> None:
        """Free the decoder."""
        self._file.close()


def header_mismatch(log: str, seconds: float) -> str | None:
    """Describe a wrong length in a header, which libsndfile only logs.

    Args:
        log: libsndfile's log of opening the file.
        seconds: Length of the decoded audio.
    """
    if cut := LOG_TRUNCATED.search(log):
        declared, present = int(cut[1]), int(cut[2])
        known = present and not any(declared in each for each in UNKNOWN_LENGTHS)
        return truncation(seconds, seconds * declared / present) if known else None
    return None


def _error_text(error: Any) -> str:
    text: str = error.error_string
    return text.removeprefix("Error : ").rstrip(".")

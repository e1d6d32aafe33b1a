"""What a user does first, with the installed command, in another folder than the project's."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tools.check_install.environments import CheckFailedError, Environment

SECONDS = 300
"""A command that takes longer is ended: it hangs."""


class SmokeTest:
    """The commands of one environment, run in a folder of their own.

    Args:
        environment: With the wheel.
        folder: New or empty; the outputs stay there.
        checkpoint: A small one in the original layout.
        report: Called with a line for each command that is done.
    """

    def __init__(
        self,
        environment: Environment,
        folder: Path,
        checkpoint: Path,
        report: Callable[[str], None],
    ) -> None:
        self._environment = environment
        self._folder = folder
        self._checkpoint = checkpoint
        self._report = report

    def run(self) -> dict[str, str]:
        """Run all commands.

        Returns:
            The transcript of each sample, by the sample's name.

        Raises:
            CheckFailedError: A command failed, or a transcript is not what was said.
        """
        self._phi4audio("--help", expected="transcribe")
        samples = Path(self._phi4audio("samples").strip())
        if not samples.is_relative_to(self._environment.folder):
            raise CheckFailedError(f"the samples are not those of the wheel: {samples}")
        self._phi4audio("doctor", "--model", "demo", "--offline", expected="a job would run")
        texts = self._transcribe(samples)
        self._render()
        self._export()
        self._use_extras(samples, texts)
        return texts

    def _transcribe(self, samples: Path) -> dict[str, str]:
        self._phi4audio(
            "transcribe", samples, "--model", "demo", "--device", "cpu", "--offline",
            "--output-dir", "transcripts",
        )  # fmt: skip
        references = {file.name.split(".")[0]: _words(file) for file in samples.glob("*.ref.txt")}
        texts = {name: _words(self._folder / "transcripts" / f"{name}.txt") for name in references}
        wrong = [name for name in texts if texts[name] != references[name]]
        if wrong or not texts:
            raise CheckFailedError(
                f"transcripts differ from what is said: {wrong or 'none at all'}"
            )
        return texts

    def _render(self) -> None:
        """Make subtitles again from a JSON transcript; they must be those of the transcription."""
        self._phi4audio("render", "transcripts/short.json", "--format", "srt,vtt", "-o", "rendered")
        written, again = (
            (self._folder / place / "short.srt").read_bytes()
            for place in ("transcripts", "rendered")
        )
        if written != again or not (self._folder / "rendered" / "short.vtt").is_file():
            raise CheckFailedError("render makes other subtitles than transcribe")

    def _export(self) -> None:
        """Strip a checkpoint, verified; what comes out must hold together."""
        self._phi4audio(
            "strip-export", "--source", self._checkpoint, "--out", "export", "--offline"
        )  # fmt: skip
        names = {file.name for file in (self._folder / "export").iterdir()}
        missing = {"config.json", "model.safetensors", "tokenizer.json"} - names
        if missing:
            raise CheckFailedError(f"strip-export wrote no {', '.join(sorted(missing))}")

    def _use_extras(self, samples: Path, texts: dict[str, str]) -> None:
        """Use every extra; remote, cluster and quantize in one run, for each takes seconds."""
        self._phi4audio(
            "eval", "--from", "transcripts/short.json", "--references", samples, expected="WER"
        )  # fmt: skip
        with _served(samples) as address:
            text = self._phi4audio(
                "transcribe", f"{address}/short.flac", "--cluster", "local", "--quantize", "int8",
                "--model", "demo", "--device", "cpu", "--output-dir", "extras",
            )  # fmt: skip
        if text.split() != texts["short"].split():
            raise CheckFailedError(f"Ray and int8 weights give another transcript: {text}")
        self._call("python", "-c", "import gcsfs, s3fs")

    def _phi4audio(self, *arguments: str | Path, expected: str = "") -> str:
        output = self._call("phi4audio", *arguments)
        if expected not in output:
            raise CheckFailedError(f"phi4audio {arguments[0]} says no {expected!r}:\n{output}")
        return output

    def _call(self, command: str, *arguments: str | Path) -> str:
        """Run a command of the environment and return its standard output."""
        words = [command, *map(str, arguments)]
        started = time.monotonic()
        try:
            done = subprocess.run(
                [self._environment.scripts / command, *words[1:]], cwd=self._folder,
                env=_clean_environ(), capture_output=True, text=True, check=False, timeout=SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise CheckFailedError(f"{' '.join(words)}\ntakes over {SECONDS} seconds") from error
        if done.returncode:
            ending = (done.stdout + done.stderr).strip()[-4000:]
            raise CheckFailedError(f"{' '.join(words)}\nexit code {done.returncode}\n{ending}")
        self._report(f"{time.monotonic() - started:5.1f} s  {' '.join(words[:2])}")
        return done.stdout


def _words(file: Path) -> str:
    """Return a text file's words; where its lines end is of no matter here."""
    return " ".join(file.read_text(encoding="utf-8").split())


def _clean_environ() -> dict[str, str]:
    """Return this process's environment without what would lead back to the checkout."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PHI4AUDIO_")) and name != "VIRTUAL_ENV"
    }


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on this machine, and yield its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()

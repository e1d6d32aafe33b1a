"""Install the wheel with the newest and the lowest dependencies, and use it in both."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tools.check_install.environments import CheckFailedError, Kind, forget, prepare
from tools.check_install.smoke_test import SmokeTest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "check-install"
KINDS: tuple[Kind, ...] = ("newest", "lowest")

_printing = threading.Lock()
_started = time.monotonic()


def main() -> int:
    """Check the environments side by side and return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/check-install", description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="Default: both.")
    kinds: list[Kind] = parser.parse_args().kinds or list(KINDS)
    # Not within the project, whose files an import could find.
    with tempfile.TemporaryDirectory(prefix="check-install-") as name:
        scratch = Path(name)
        with ThreadPoolExecutor(1 + len(kinds)) as pool:
            checkpoint = pool.submit(make_checkpoint, scratch / "original")
            results = list(pool.map(lambda kind: check(kind, scratch, checkpoint), kinds))
    if None in results:
        say("check-install", "failed")
        return 1
    if any(texts != results[0] for texts in results):
        say("check-install", "failed: the environments give different transcripts")
        return 1
    say("check-install", "all checks passed")
    return 0


def check(kind: Kind, scratch: Path, checkpoint: Future[Path]) -> dict[str, str] | None:
    """Prepare one environment and use it; return its transcripts, or None after a failure."""
    try:
        environment = prepare(ROOT, kind, CACHE, scratch)
        say(kind, "kept from an earlier run" if environment.kept else "installed")
        folder = scratch / kind
        folder.mkdir()
        report = partial(say, kind)
        return SmokeTest(environment, folder, checkpoint.result(), report).run()
    except CheckFailedError as error:
        forget(kind, CACHE)
        say(kind, f"failed: {error}")
        return None


def make_checkpoint(folder: Path) -> Path:
    """Make a small checkpoint in the original layout with the tools of development."""
    size = ["--layout", "original", "--size", "small"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.make_checkpoint", *size, folder],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    if done.returncode:
        raise CheckFailedError(f"the checkpoint can't be made\n{done.stderr.strip()}")
    return folder


def say(kind: str, line: str) -> None:
    """Print a line with the seconds since the start."""
    with _printing:
        print(f"{time.monotonic() - _started:6.1f}  {kind}: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

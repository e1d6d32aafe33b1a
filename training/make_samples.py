"""Make the demo's sample recordings with espeak-ng, with the time of every word.

    python -m training.make_samples

Each word is synthesized separately, so its true time is known: `NAME.ref.json` has it,
`NAME.ref.txt` has only the text. The same seed and espeak-ng version give the same files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from training import DEMO
from training.spoken_digits.digit_corpus import TRIM_SECONDS, Voice, resample, speak
from training.spoken_digits.digit_tasks import DIGITS, digit_words
from training.spoken_digits.mel_features import Floats

_PEAK = 0.6


@dataclass(frozen=True)
class SamplePlan:
    """The plan of a sample.

    Attributes:
        name: of its files.
        voices: one voice, or several that take turns.
        groups: number of digits between two pauses, for each group.
        gaps: shortest and longest silence between the digits of a group, in seconds.
        pauses: the same between groups.
        rate: sample rate.
        noise: loudness of white noise, relative to full scale.
        levels: loudness in each channel; two make it stereo.
    """

    name: str
    voices: tuple[Voice, ...]
    groups: tuple[int, ...]
    gaps: tuple[float, float] = (0.12, 0.35)
    pauses: tuple[float, float] = (0.6, 1.2)
    rate: int = 16_000
    noise: float = 1e-4
    levels: tuple[float, ...] = (1.0,)


_AMERICAN, _BRITISH = Voice("en-us", 50, 150), Voice("en-gb", 36, 135)
_SCOTTISH, _CARIBBEAN = Voice("en-gb-scotland+f3", 50, 150), Voice("en-029", 48, 165)
_WOMAN, _MAN = Voice("en-us+f4", 50, 150), Voice("en-gb+m4", 50, 150)
_CALLER = Voice("en-gb-scotland+m2", 50, 150)

PLANS = (
    SamplePlan("short", (_AMERICAN,), (3, 3)),
    SamplePlan("medium", (_BRITISH,), (4, 4, 4), gaps=(0.6, 1.0), pauses=(1.5, 2.2)),
    SamplePlan("pauses", (_SCOTTISH,), (2, 3, 2, 1, 3), pauses=(1.0, 3.0)),
    SamplePlan("stereo", (_CARIBBEAN,), (4, 4), rate=44_100, noise=0.0, levels=(1.0, 0.45)),
    SamplePlan("interview", (_WOMAN, _MAN), (4, 6, 3, 7, 5) * 5 + (4, 6), gaps=(0.2, 0.5),
         pauses=(0.8, 2.0)),
    SamplePlan("phone", (_CALLER,), (3, 3, 4), rate=8_000, noise=1e-3),
)  # fmt: skip


@dataclass(frozen=True)
class TimedWord:
    """A word of a sample: the digit, and its first and last moment in seconds."""

    digit: int
    start: float
    end: float


def synthesize_words(plan: SamplePlan, rng: np.random.Generator) -> tuple[Floats, list[TimedWord]]:
    """Synthesize the digits of a plan, one after the other.

    Returns:
        Mono samples at the plan's rate, their loudest one at `_PEAK`, and the words.
    """
    parts, words = [_silence(plan, rng.uniform(0.3, 0.6))], []
    position = len(parts[0])
    for voice, digit, silence in _spoken_sequence(plan, rng):
        samples, rate = speak(voice, DIGITS["English"][digit])
        samples = resample(samples, rate, plan.rate)
        begin, end = position / plan.rate, (position + len(samples)) / plan.rate
        words.append(TimedWord(digit, round(begin + TRIM_SECONDS, 3), round(end - TRIM_SECONDS, 3)))
        parts += [samples, _silence(plan, silence)]
        position += len(parts[-2]) + len(parts[-1])
    samples = np.concatenate(parts)
    return samples * np.float32(_PEAK / np.abs(samples).max()), words


def _spoken_sequence(
    plan: SamplePlan, rng: np.random.Generator
) -> Iterator[tuple[Voice, int, float]]:
    """Yield voice, digit, and the silence after it in seconds."""
    for turn, size in enumerate(plan.groups):
        voice = plan.voices[turn % len(plan.voices)]
        for index in range(size):
            silence = plan.pauses if index == size - 1 else plan.gaps
            yield voice, int(rng.integers(10)), rng.uniform(*silence)


def _silence(plan: SamplePlan, seconds: float) -> Floats:
    """Return silence of some seconds at the plan's rate."""
    return np.zeros(round(seconds * plan.rate), dtype=np.float32)


def make_sample(plan: SamplePlan, folder: Path, seed: int) -> None:
    """Write a sample's audio and both its references."""
    rng = np.random.default_rng([seed, *plan.name.encode()])
    mono, words = synthesize_words(plan, rng)
    channels = np.stack([mono * np.float32(level) for level in plan.levels], axis=1)
    hiss: Floats = np.asarray(rng.standard_normal(channels.shape)).astype(np.float32)
    channels += plan.noise * hiss
    soundfile.write(folder / f"{plan.name}.flac", channels, plan.rate, subtype="PCM_16")
    text = digit_words([word.digit for word in words], "English")
    reference = {
        "text": text,
        "language": "English",
        "words": [
            {"word": DIGITS["English"][word.digit], "start": word.start, "end": word.end}
            for word in words
        ],
    }
    (folder / f"{plan.name}.ref.txt").write_text(text + "\n", encoding="utf-8")
    (folder / f"{plan.name}.ref.json").write_text(
        json.dumps(reference, indent=1) + "\n", encoding="utf-8"
    )


def main() -> None:
    """Make all samples."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=DEMO / "samples", help="folder for the samples")
    parser.add_argument("--seed", type=int, default=6)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for plan in PLANS:
        make_sample(plan, arguments.out, arguments.seed)


if __name__ == "__main__":
    main()

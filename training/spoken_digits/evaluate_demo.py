"""Word error rates of a stored demo checkpoint on recordings it was not trained on.

python -m training.spoken_digits.evaluate_demo --fsdd ../shared/fsdd --tasks
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import jiwer
import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import Phi4MultimodalForCausalLM
from transformers.utils import logging as transformers_logging

from training import DEMO, FSDD
from training.spoken_digits import digit_tasks
from training.spoken_digits.digit_recordings import (
    DigitRecording,
    RecordingBuilder,
    recording_builders,
)
from training.spoken_digits.mel_features import Floats, token_count

log = logging.getLogger(__name__)


class StoredModel:
    """A stored checkpoint in plain transformers, one clip at a time, greedy."""

    def __init__(self, folder: Path) -> None:
        transformers_logging.set_verbosity_error()  # it warns that the vision tower is missing
        self.model = Phi4MultimodalForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    @torch.no_grad()
    def answer(self, features: Floats, prompt: str, budget: int = 220) -> str:
        """Return the model's answer to a prompt about a clip of shape (frames, 80)."""
        audio = token_count(len(features))
        ids = [
            digit_tasks.special_id(digit_tasks.USER),
            *[digit_tasks.special_id(digit_tasks.AUDIO)] * audio,
        ]
        ids += digit_tasks.prompt_ids(prompt)
        output = self.model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            audio_input_features=torch.from_numpy(features)[None],
            audio_embed_sizes=torch.tensor([audio]),
            max_new_tokens=budget,
            do_sample=False,
        )
        return str(self.tokenizer.decode(output[0, len(ids) :].tolist()))


def word_error_rate(
    model: StoredModel, clips: Sequence[DigitRecording], prompt: str, language: str
) -> float:
    """Return the word error rate in percent over all clips together."""
    references = [digit_tasks.digit_words(clip.digits, language) for clip in clips]
    answers = [model.answer(clip.features(), prompt) for clip in clips]
    return 100.0 * float(jiwer.wer(references, answers))


def make_test_clips(
    builder: RecordingBuilder, short: int, full: int
) -> dict[str, list[DigitRecording]]:
    """Make the test clips: 1 to 12 digits in turn, and full 40 s windows."""
    return {
        "1 to 12 digits": [builder.short(1 + index % 12) for index in range(short)],
        "full 40 s": [builder.full() for _ in range(full)],
    }


def measure_transcripts(
    model: StoredModel, fsdd: Path, split: str, short: int, full: int, seed: int
) -> dict[str, float]:
    """Return transcription error rates in percent for every kind of voice and length."""
    figures = {}
    for voices, builder in recording_builders(fsdd, split, seed).items():
        for kind, clips in make_test_clips(builder, short, full).items():
            name = f"transcript, {voices}, {kind}"
            figures[name] = word_error_rate(model, clips, digit_tasks.TRANSCRIBE, "English")
            log.info("%s: %.1f %%", name, figures[name])
    return figures


def measure_tasks(
    model: StoredModel, fsdd: Path, split: str, short: int, full: int, seed: int
) -> dict[str, float]:
    """Return error rates of translations, and the share of correct summaries and answers."""
    figures = {}
    builder = recording_builders(fsdd, split, seed)["real voices, 8 kHz"]
    for kind, clips in make_test_clips(builder, short, full).items():
        for language in digit_tasks.LANGUAGES[1:]:
            prompt = digit_tasks.TRANSLATE.format(language=language)
            name = f"{language}, {kind}"
            figures[name] = word_error_rate(model, clips, prompt, language)
            log.info("%s: %.1f %%", name, figures[name])
        figures |= _measure_both(model, clips, kind)
        figures |= _measure_answers(model, clips, kind)
    return figures


def _measure_both(model: StoredModel, clips: list[DigitRecording], kind: str) -> dict[str, float]:
    """Return the error rate of transcript and French translation in one answer."""
    prompt = digit_tasks.BOTH.format(language="French")
    references, answers = [], []
    for clip in clips:
        references.append(
            f"{digit_tasks.digit_words(clip.digits, 'English')} {digit_tasks.SEPARATOR} "
            f"{digit_tasks.digit_words(clip.digits, 'French')}"
        )
        answer = model.answer(clip.features(), prompt, budget=300)
        answers.append(answer.replace(digit_tasks.SEPARATOR, f" {digit_tasks.SEPARATOR} "))
    rate = 100.0 * float(jiwer.wer(references, answers))
    log.info("transcript<sep>French, %s: %.1f %%", kind, rate)
    return {f"transcript<sep>French, {kind}": rate}


def _measure_answers(
    model: StoredModel, clips: list[DigitRecording], kind: str
) -> dict[str, float]:
    """Return the share of exactly correct summaries and answers, in percent."""
    words = digit_tasks.DIGITS["English"]
    expected = {
        digit_tasks.SUMMARIZE: [digit_tasks.summarize(clip.digits) for clip in clips],
        digit_tasks.FIRST: [words[clip.digits[0]] for clip in clips],
        digit_tasks.LAST: [words[clip.digits[-1]] for clip in clips],
        digit_tasks.HOW_MANY: [digit_tasks.number_words(len(clip.digits)) for clip in clips],
    }
    figures = {}
    for prompt, answers in expected.items():
        right = [
            model.answer(clip.features(), prompt) == answer
            for clip, answer in zip(clips, answers, strict=True)
        ]
        figures[f"correct: {prompt} {kind}"] = 100.0 * float(np.mean(right))
        log.info("correct: %s %s: %.0f %%", prompt, kind, 100.0 * np.mean(right))
    return figures


def measure_silence(model: StoredModel, seed: int) -> dict[str, float]:
    """Return the share of clips of faint noise with an empty transcript, in percent."""
    rng = np.random.default_rng(seed)
    empty = []
    for index in range(20):
        noise = rng.standard_normal(16_000 * (2 + index)).astype(np.float32)
        clip = DigitRecording(noise * 10 ** -rng.uniform(1.5, 4), 16_000, [])
        empty.append(model.answer(clip.features(), digit_tasks.TRANSCRIBE) == "")
    log.info("noise with an empty transcript: %.0f %%", 100.0 * np.mean(empty))
    return {"noise with an empty transcript": 100.0 * float(np.mean(empty))}


def main() -> None:
    """Measure a checkpoint and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=DEMO / "checkpoint")
    parser.add_argument("--fsdd", type=Path, default=FSDD)
    parser.add_argument("--split", choices=["dev", "test"], default="test")
    parser.add_argument("--short", type=int, default=60, help="clips of 1 to 12 digits, each kind")
    parser.add_argument("--full", type=int, default=12, help="clips of 40 s, each kind")
    parser.add_argument("--tasks", action="store_true", help="translation and questions, too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    model, begun = StoredModel(arguments.checkpoint), time.monotonic()
    sizes = (arguments.fsdd, arguments.split, arguments.short, arguments.full, arguments.seed)
    figures = measure_transcripts(model, *sizes)
    if arguments.tasks:
        figures |= measure_tasks(model, *sizes)
        figures |= measure_silence(model, arguments.seed)
    log.info("%.0f s", time.monotonic() - begun)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Measures a stored demo checkpoint: word error rates on recordings it was not trained on.

Run as ``python -m demo_training.evaluate`` inside ``scripts``.
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

from . import texts
from .features import Floats, token_count
from .recordings import Spoken, Studio, studios

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]


class Listener:
    """A stored checkpoint in plain transformers, one clip at a time, greedy."""

    def __init__(self, folder: Path) -> None:
        transformers_logging.set_verbosity_error()  # the vision tower is missing on purpose
        self.model = Phi4MultimodalForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    @torch.no_grad()
    def answer(self, features: Floats, prompt: str, budget: int = 220) -> str:
        """Returns the model's answer to a prompt about a clip of shape (frames, 80)."""
        audio = token_count(len(features))
        ids = [texts.special_id(texts.USER), *[texts.special_id(texts.AUDIO)] * audio]
        ids += texts.prompt_ids(prompt)
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
    listener: Listener, clips: Sequence[Spoken], prompt: str, language: str
) -> float:
    """Returns the word error rate in percent over all clips together."""
    said = [texts.say(clip.digits, language) for clip in clips]
    heard = [listener.answer(clip.features(), prompt) for clip in clips]
    return 100.0 * float(jiwer.wer(said, heard))


def make_clips(studio: Studio, short: int, full: int) -> dict[str, list[Spoken]]:
    """Makes the clips to measure on: 1 to 12 digits in turn, and full 40 s windows."""
    return {
        "1 to 12 digits": [studio.short(1 + index % 12) for index in range(short)],
        "full 40 s": [studio.full() for _ in range(full)],
    }


def measure_transcripts(
    listener: Listener, fsdd: Path, split: str, short: int, full: int, seed: int
) -> dict[str, float]:
    """Returns transcription error rates in percent for every kind of voice and length."""
    figures = {}
    for voices, studio in studios(fsdd, split, seed).items():
        for kind, clips in make_clips(studio, short, full).items():
            name = f"transcript, {voices}, {kind}"
            figures[name] = word_error_rate(listener, clips, texts.TRANSCRIBE, "English")
            log.info("%s: %.1f %%", name, figures[name])
    return figures


def measure_tasks(
    listener: Listener, fsdd: Path, split: str, short: int, full: int, seed: int
) -> dict[str, float]:
    """Returns error rates of translations, and the share of right summaries and answers."""
    figures = {}
    studio = studios(fsdd, split, seed)["real voices, 8 kHz"]
    for kind, clips in make_clips(studio, short, full).items():
        for language in texts.LANGUAGES[1:]:
            prompt = texts.TRANSLATE.format(language=language)
            name = f"{language}, {kind}"
            figures[name] = word_error_rate(listener, clips, prompt, language)
            log.info("%s: %.1f %%", name, figures[name])
        figures |= _measure_both(listener, clips, kind)
        figures |= _measure_answers(listener, clips, kind)
    return figures


def _measure_both(listener: Listener, clips: list[Spoken], kind: str) -> dict[str, float]:
    """Returns the error rate of transcript and French translation in one answer."""
    prompt = texts.BOTH.format(language="French")
    said, heard = [], []
    for clip in clips:
        said.append(
            f"{texts.say(clip.digits, 'English')} {texts.SEPARATOR} "
            f"{texts.say(clip.digits, 'French')}"
        )
        answer = listener.answer(clip.features(), prompt, budget=300)
        heard.append(answer.replace(texts.SEPARATOR, f" {texts.SEPARATOR} "))
    rate = 100.0 * float(jiwer.wer(said, heard))
    log.info("transcript<sep>French, %s: %.1f %%", kind, rate)
    return {f"transcript<sep>French, {kind}": rate}


def _measure_answers(listener: Listener, clips: list[Spoken], kind: str) -> dict[str, float]:
    """Returns the share of exactly right summaries and answers, in percent."""
    words = texts.DIGITS["English"]
    expected = {
        texts.SUMMARIZE: [texts.summarize(clip.digits) for clip in clips],
        texts.FIRST: [words[clip.digits[0]] for clip in clips],
        texts.LAST: [words[clip.digits[-1]] for clip in clips],
        texts.HOW_MANY: [texts.say_number(len(clip.digits)) for clip in clips],
    }
    figures = {}
    for prompt, answers in expected.items():
        right = [
            listener.answer(clip.features(), prompt) == answer
            for clip, answer in zip(clips, answers, strict=True)
        ]
        figures[f"right: {prompt} {kind}"] = 100.0 * float(np.mean(right))
        log.info("right: %s %s: %.0f %%", prompt, kind, 100.0 * np.mean(right))
    return figures


def measure_silence(listener: Listener, seed: int) -> dict[str, float]:
    """Returns the share of clips of faint noise that are transcribed as nothing, in percent."""
    rng = np.random.default_rng(seed)
    empty = []
    for index in range(20):
        noise = rng.standard_normal(16_000 * (2 + index)).astype(np.float32)
        clip = Spoken(noise * 10 ** -rng.uniform(1.5, 4), 16_000, [])
        empty.append(listener.answer(clip.features(), texts.TRANSCRIBE) == "")
    log.info("noise transcribed as nothing: %.0f %%", 100.0 * np.mean(empty))
    return {"noise transcribed as nothing": 100.0 * float(np.mean(empty))}


def main() -> None:
    """Measures a checkpoint and prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=_ROOT / "phi4audio_cli" / "demo" / "checkpoint"
    )
    parser.add_argument("--fsdd", type=Path, default=_ROOT.parent / "shared" / "fsdd")
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
    listener, begun = Listener(arguments.checkpoint), time.monotonic()
    sizes = (arguments.fsdd, arguments.split, arguments.short, arguments.full, arguments.seed)
    figures = measure_transcripts(listener, *sizes)
    if arguments.tasks:
        figures |= measure_tasks(listener, *sizes)
        figures |= measure_silence(listener, arguments.seed)
    log.info("%.0f s", time.monotonic() - begun)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

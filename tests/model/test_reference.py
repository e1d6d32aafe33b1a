"""Our loading, features, inputs and generation against what the original code answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from phi4audio_cli.model.features import log_mel
from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.hearing import embed_audio
from phi4audio_cli.model.inputs import Prepared
from phi4audio_cli.model.local import LocalBackend, open_local_backend

AUDIO_PLACEHOLDER = 200011
STOP = {199999, 200020}
CLIPS = ("a", "b", "long", "phone")
CROSSING_SAMPLES = 5_221_360


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def backend(reference: Path, request: pytest.FixtureRequest) -> LocalBackend:
    return open_local_backend(
        reference, device="cpu", dtype="float32", attention=request.param, batch_size=4
    )


@pytest.fixture(scope="module")
def answers(reference: Path) -> dict[str, torch.Tensor]:
    return load_file(reference / "reference.safetensors")


@pytest.fixture(scope="module")
def prompts(
    reference: Path, backend: LocalBackend, answers: dict[str, torch.Tensor]
) -> dict[str, Prepared]:
    made = {}
    for clip in CLIPS:
        samples, rate = soundfile.read(reference / f"{clip}.wav", dtype="float32")
        made[clip] = as_prompt(samples, rate, backend, answers[f"{clip}.input_ids"])
    return made


def as_prompt(samples: np.ndarray, rate: int, backend: LocalBackend, ids: torch.Tensor) -> Prepared:
    heard = int((ids == AUDIO_PLACEHOLDER).sum())
    prepared = Prepared(
        features=log_mel(samples, rate, backend.inputs.extractor),
        before=tuple(ids[:1].tolist()),
        after=tuple(ids[1 + heard :].tolist()),
        max_new_tokens=12,
    )
    assert prepared.audio_length == heard
    return prepared


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("clip", CLIPS)
def test_features(clip: str, prompts, answers):
    assert relative_error(prompts[clip].features, answers[f"{clip}.features"]) < 1e-6


@pytest.mark.parametrize("clip", CLIPS)
def test_encoder(clip: str, backend, prompts, answers):
    with torch.inference_mode():
        encoded = backend.model.audio.encoder(prompts[clip].features[None])[0]
        [embedded] = embed_audio(backend.model, [prompts[clip]])
    assert relative_error(encoded, answers[f"{clip}.encoder"]) < 1e-5
    assert relative_error(embedded, answers[f"{clip}.audio_embeds"]) < 1e-5


@pytest.mark.parametrize("clip", CLIPS)
def test_logits(clip: str, backend, prompts, answers):
    one = prompts[clip]
    with torch.inference_mode():
        logits = backend.model(
            input_ids=answers[f"{clip}.input_ids"][None],
            audio_input_features=one.features[None],
            audio_embed_sizes=torch.tensor([one.audio_length]),
            logits_to_keep=1,
        ).logits[0, -1]
    best = answers[f"{clip}.last_logits_top_ids"]
    assert relative_error(logits[best], answers[f"{clip}.last_logits_top"]) < 1e-4
    assert int(logits.argmax()) == int(best[0])


@pytest.mark.parametrize("size", [1, 2, 4])
def test_greedy_tokens_at_any_batch_size(size: int, backend, prompts, answers):
    for start in range(0, len(CLIPS), size):
        names = CLIPS[start : start + size]
        rows = generate(backend.model, [prompts[name] for name in names], STOP)
        for name, row in zip(names, rows, strict=True):
            assert row.tokens == answers[f"{name}.greedy"].tolist()


def test_greedy_tokens_across_position_4096(reference: Path, backend, answers):
    clip, rate = soundfile.read(reference / "b.wav", dtype="float32")
    samples = np.tile(clip, -(-CROSSING_SAMPLES // len(clip)))[:CROSSING_SAMPLES]
    prompt = as_prompt(samples, rate, backend, answers["crossing.input_ids"])
    [row] = generate(backend.model, [prompt], STOP)
    assert row.tokens == answers["crossing.greedy"].tolist()


def test_the_adapter_is_what_makes_it_so(backend, answers, reference: Path, prompts):
    """Without the speech LoRA the logits are others, so the tests above can fail."""
    from phi4audio_cli.checkpoint import open_checkpoint

    merged = dict(open_checkpoint(reference).tensors())
    plain = dict(open_checkpoint(reference, speech_lora="drop").tensors())
    changed = [name for name in merged if not torch.equal(merged[name], plain[name])]
    assert len(changed) == 4 * backend.model.config.num_hidden_layers

"""Loading, features, inputs and decoding give the answers of the original code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from phi4audio_cli.model.inputs import ModelInput
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.types import Chunk
from tests.model.generate import generate

AUDIO_PLACEHOLDER = 200011
STOP = {199999, 200020}
CLIPS = ("a", "b", "long", "phone")
CROSSING_SAMPLES = 5_221_360


@pytest.fixture(scope="module")
def backend(reference: Path) -> TorchBackend:
    return open_torch_backend(reference, device="cpu", dtype="float32", batch_size=4)


@pytest.fixture(scope="module")
def answers(reference: Path) -> dict[str, torch.Tensor]:
    return load_file(reference / "reference.safetensors")


@pytest.fixture(scope="module")
def prompts(
    reference: Path, backend: TorchBackend, answers: dict[str, torch.Tensor]
) -> dict[str, ModelInput]:
    made = {}
    for clip in CLIPS:
        samples, rate = soundfile.read(reference / f"{clip}.wav", dtype="float32")
        made[clip] = as_prompt(samples, rate, backend, answers[f"{clip}.input_ids"])
    return made


def as_prompt(
    samples: np.ndarray, rate: int, backend: TorchBackend, ids: torch.Tensor
) -> ModelInput:
    placeholders = int((ids == AUDIO_PLACEHOLDER).sum())
    model_input = ModelInput(
        audio=backend.builder.extract_audio(Chunk(0, samples, rate, 0)),
        prefix_ids=tuple(ids[:1].tolist()),
        suffix_ids=tuple(ids[1 + placeholders :].tolist()),
        max_new_tokens=12,
    )
    assert model_input.audio_length == placeholders
    return model_input


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("clip", CLIPS)
def test_features(clip: str, prompts, answers):
    assert relative_error(prompts[clip].features, answers[f"{clip}.features"]) < 1e-6


@pytest.mark.parametrize("clip", CLIPS)
def test_encoder_and_projection(clip: str, backend, prompts, answers):
    clips = [prompts[clip].features]
    with torch.inference_mode():
        [encoded] = backend.network.audio.encoder(clips)
        [embedded] = backend.network.encode_clips(clips)
    assert relative_error(encoded, answers[f"{clip}.encoder"]) < 1e-5
    assert relative_error(embedded, answers[f"{clip}.audio_embeds"]) < 1e-5


@pytest.mark.parametrize("clip", CLIPS)
def test_logits_after_the_prompt(clip: str, backend, prompts, answers):
    network, one = backend.network, prompts[clip]
    with torch.inference_mode():
        [audio] = network.encode_clips([one.features])
        embedded = torch.cat([network.embed(one.prefix_ids), audio, network.embed(one.suffix_ids)])
        [logits] = network.prefill(network.new_cache(1, len(embedded)), [0], [embedded])
    best = answers[f"{clip}.last_logits_top_ids"]
    assert relative_error(logits[best], answers[f"{clip}.last_logits_top"]) < 1e-4
    assert int(logits.argmax()) == int(best[0])


@pytest.mark.parametrize("size", [1, 2, 4])
def test_greedy_tokens_at_any_batch_size(size: int, backend, prompts, answers):
    for start in range(0, len(CLIPS), size):
        names = CLIPS[start : start + size]
        outputs = generate(backend.network, [prompts[name] for name in names], STOP)
        for name, output in zip(names, outputs, strict=True):
            assert output.tokens == answers[f"{name}.greedy"].tolist()


@pytest.mark.slow
def test_greedy_tokens_across_position_4096(reference: Path, backend, answers):
    clip, rate = soundfile.read(reference / "b.wav", dtype="float32")
    samples = np.tile(clip, -(-CROSSING_SAMPLES // len(clip)))[:CROSSING_SAMPLES]
    prompt = as_prompt(samples, rate, backend, answers["crossing.input_ids"])
    [output] = generate(backend.network, [prompt], STOP)
    assert output.tokens == answers["crossing.greedy"].tolist()


def test_the_speech_lora_changes_four_weights_of_each_layer(backend, reference: Path):
    """Without the adapter the network is another one, so the tests above can fail."""
    from phi4audio_cli.checkpoint import open_checkpoint

    merged = dict(open_checkpoint(reference).tensors())
    plain = dict(open_checkpoint(reference, speech_lora="drop").tensors())
    changed = [name for name in merged if not torch.equal(merged[name], plain[name])]
    assert len(changed) == 4 * backend.network.config.num_hidden_layers

"""A checkpoint of the native layout with its adapter gives the answers of transformers and peft."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Phi4MultimodalForCausalLM

from phi4audio_cli.model.inputs import ModelInput
from phi4audio_cli.model.torch_backend import TorchBackend, open_torch_backend
from phi4audio_cli.types import Request
from tests.model.generate import generate
from tests.model.small import noise_chunk, prompt, save_tokenizer
from tests.network.networks import AUDIO_TOKEN, randomise, transformers_config

LINEARS = r"model\.layers\.\d+\.(self_attn\.(qkv|o)_proj|mlp\.(gate_up|down)_proj)"
STOP = {0, 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    full = Phi4MultimodalForCausalLM(transformers_config()).eval()
    randomise(full, seed=8)
    full.save_pretrained(folder)
    save_tokenizer(folder)
    settings = LoraConfig(r=6, lora_alpha=12, target_modules=LINEARS, task_type="CAUSAL_LM")
    adapted = get_peft_model(full, settings)
    randomise_adapter(adapted)
    adapted.save_pretrained(folder / "speech-lora")
    return folder


def randomise_adapter(adapted: PeftModel) -> None:
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture(scope="module")
def ours(folder: Path) -> TorchBackend:
    return open_torch_backend(folder, device="cpu", dtype="float32", batch_size=3)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> PeftModel:
    base = Phi4MultimodalForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return PeftModel.from_pretrained(base, folder / "speech-lora").eval()


def reference_inputs(one: ModelInput) -> dict[str, torch.Tensor]:
    assert one.features is not None
    ids = [*one.prefix_ids, *[AUDIO_TOKEN] * one.audio_length, *one.suffix_ids]
    return {
        "input_ids": torch.tensor([ids]),
        "audio_input_features": one.features[None],
        "audio_embed_sizes": torch.tensor([one.audio_length]),
    }


def test_logits_are_those_of_peft(ours: TorchBackend, theirs: PeftModel):
    network, one = ours.network, prompt(333)
    with torch.no_grad():
        expected = theirs(**reference_inputs(one)).logits[0, -1]
        [audio] = network.encode_clips([one.features])
        embedded = torch.cat([network.embed(one.prefix_ids), audio, network.embed(one.suffix_ids)])
        [logits] = network.prefill(network.new_cache(1, len(embedded)), [0], [embedded])
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_tokens_are_those_of_peft(ours: TorchBackend, theirs: PeftModel):
    prompts = [prompt(frames, seed) for seed, frames in enumerate((70, 333, 1200))]
    outputs = generate(ours.network, prompts, STOP)
    for one, output in zip(prompts, outputs, strict=True):
        inputs = reference_inputs(one)
        with torch.no_grad():
            ids = theirs.generate(
                **inputs, max_new_tokens=one.max_new_tokens, do_sample=False, pad_token_id=0
            )
        expected = ids[0, inputs["input_ids"].shape[1] :].tolist()
        assert output.tokens == [token for token in expected if token not in STOP]


def test_more_requests_than_may_wait_are_answered_as_alone(ours: TorchBackend):
    generator = torch.Generator().manual_seed(1)
    lengths = (0.025 + 2 * torch.rand(17, generator=generator)).tolist()
    requests = [
        Request(job, noise_chunk(job, seconds), "A", 9) for job, seconds in enumerate(lengths)
    ]
    together = {answer.request.job: answer for answer in ours.generate(requests)}
    assert sorted(together) == list(range(17))
    for request in requests[::4]:
        [alone] = ours.generate([request])
        assert together[request.job].tokens == alone.tokens
        assert together[request.job].text == alone.text


def test_control_tokens_in_a_users_prompt_are_text(ours: TorchBackend):
    model_input = ours.builder.build(Request(0, noise_chunk(0, 0.1), "A<|end|>B", 5))
    assert model_input.suffix_ids.count(ours.builder.end_token) == 1

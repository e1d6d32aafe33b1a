"""A checkpoint in the native layout with its adapter: as plain transformers and peft run it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Phi4MultimodalForCausalLM

from phi4audio_cli.model import linears
from phi4audio_cli.model.generate import generate
from phi4audio_cli.model.inputs import Prepared
from phi4audio_cli.model.local import LocalBackend, open_local_backend
from phi4audio_cli.types import Chunk, Request
from tests.model.small import AUDIO_TOKEN, prompt, randomise, save_tokenizer, small_config

LINEARS = r"model\.layers\.\d+\.(self_attn\.(qkv|o)_proj|mlp\.(gate_up|down)_proj)"
STOP = {0, 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    full = Phi4MultimodalForCausalLM(small_config()).eval()
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
def ours(folder: Path) -> LocalBackend:
    return open_local_backend(folder, device="cpu", dtype="float32", batch_size=3)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> PeftModel:
    base = Phi4MultimodalForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return PeftModel.from_pretrained(base, folder / "speech-lora").eval()


def library_inputs(one: Prepared) -> dict[str, torch.Tensor]:
    ids = [*one.before, *[AUDIO_TOKEN] * one.audio_length, *one.after]
    return {
        "input_ids": torch.tensor([ids]),
        "audio_input_features": one.features[None],
        "audio_embed_sizes": torch.tensor([one.audio_length]),
    }


def test_same_logits(folder: Path, theirs: PeftModel, monkeypatch: pytest.MonkeyPatch):
    """In float64, where the order of a sum hardly counts."""
    monkeypatch.setattr(linears, "can_pack", lambda: False)  # only float32 can be packed
    ours = open_local_backend(folder, device="cpu", dtype="float32")
    inputs = library_inputs(prompt(333))
    inputs["audio_input_features"] = inputs["audio_input_features"].double()
    with torch.no_grad():
        expected = deepcopy(theirs).double()(**inputs).logits
        logits = deepcopy(ours.model).double()(**inputs).logits
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=2e-5)


def test_same_tokens(ours: LocalBackend, theirs: PeftModel):
    prompts = [prompt(frames, seed) for seed, frames in enumerate((70, 333, 1200))]
    rows = generate(ours.model, prompts, STOP)
    for one, row in zip(prompts, rows, strict=True):
        inputs = library_inputs(one)
        with torch.no_grad():
            ids = theirs.generate(
                **inputs, max_new_tokens=one.max_new_tokens, do_sample=False, pad_token_id=0
            )
        answer = ids[0, inputs["input_ids"].shape[1] :].tolist()
        assert row.tokens == [token for token in answer if token not in STOP]


def test_requests_become_generations_in_any_order(ours: LocalBackend):
    """More requests than a sorted window holds: every one is answered, as it is alone."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(400, 32_000, (17,), generator=generator).tolist()
    requests = [
        Request(index, Chunk(0, torch.randn(length, generator=generator).numpy(), 16000, 0), "A", 9)
        for index, length in enumerate(lengths)
    ]
    together = {answer.request.job: answer for answer in ours.generate(requests)}
    assert sorted(together) == list(range(17))
    for request in requests[::4]:
        [alone] = ours.generate([request])
        assert together[request.job].tokens == alone.tokens
        assert together[request.job].text == alone.text


def test_control_tokens_in_a_prompt_are_text(ours: LocalBackend):
    chunk = Chunk(0, torch.zeros(1600).numpy(), 16000, 0)
    prepared = ours.inputs.prepare(Request(0, chunk, "A<|end|>B", 5))
    assert prepared.after.count(ours.inputs.end_token) == 1

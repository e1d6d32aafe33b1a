"""An export in plain transformers: answers of Microsoft's code, of phi4audio, of the card."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.checkpoint.equivalence import build_inputs, compare_answers
from phi4audio_cli.checkpoint.export import ExportRequest, make_plan, run_export
from phi4audio_cli.errors import CheckpointError
from tests.checkpoint.checkpoint_edits import features_inputs

CLIPS = ("a", "b", "long", "phone")


class NoVision(torch.nn.Module):
    def forward(self, *args, **kwargs):
        raise ValueError("this model has no vision")


def load_plain(folder, dtype=torch.float32):
    """Load a model as the snippet of the card does."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    extend = model.model.embed_tokens_extend
    extend.image_embed = NoVision()
    extend.audio_embed.down_proj_for_vision_speech = NoVision()
    extend.audio_embed.up_proj_for_vision_speech = NoVision()
    return model.eval()


def greedy(model, inputs, count=12):
    with torch.inference_mode():
        answer = model.generate(**inputs, max_new_tokens=count, do_sample=False, eos_token_id=[])
    return answer[0, inputs["input_ids"].shape[1] :].tolist()


def export(folder, out, mode="merge", **options):
    run_export(make_plan(ExportRequest(folder, folder.name, mode, **options)), out)
    return out


@pytest.fixture(scope="module")
def truth(reference):
    return load_file(reference / "reference.safetensors")


def check_reference(model, truth):
    for clip in CLIPS:
        inputs = features_inputs(truth, clip)
        with torch.inference_mode():
            logits = model(**inputs, logits_to_keep=1).logits[0, -1]
        top = logits[truth[f"{clip}.last_logits_top_ids"].long()]
        torch.testing.assert_close(top, truth[f"{clip}.last_logits_top"], rtol=5e-5, atol=0)
        assert greedy(model, inputs) == truth[f"{clip}.greedy"].tolist()


@pytest.mark.slow
def test_the_export_answers_as_the_original_code(reference, truth, tmp_path):
    out = export(reference, tmp_path / "out", dtype="float32")
    check_reference(load_plain(out), truth)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_kept_adapter_loads_with_plain_peft(reference, truth, tmp_path):
    from peft import PeftModel

    out = export(reference, tmp_path / "out", "keep")
    model = PeftModel.from_pretrained(load_plain(out), out / "speech-lora").eval()
    adapted = {name.split(".lora_A")[0] for name, _ in model.named_parameters() if "lora_A" in name}
    assert len(adapted) == 12
    assert not any("audio_embed" in name for name in adapted)
    check_reference(model, truth)


@pytest.mark.slow
def test_bfloat16_gives_the_answer_of_our_own_loading(reference, tmp_path):
    """Both folders give the same tokens; plain transformers agrees within bfloat16."""
    from phi4audio_cli.model.torch_backend import open_torch_backend
    from phi4audio_cli.types import Chunk
    from phi4audio_cli.types import Request as Question

    out = export(reference, tmp_path / "out")
    samples, rate = soundfile.read(reference / "a.wav", dtype="float32")
    question = Question(0, Chunk(0, samples, rate, 0), "Transcribe the audio clip into text.", 12)
    answers = []
    for folder in (reference, out):
        backend = open_torch_backend(folder, device="cpu", dtype="bfloat16")
        answers += backend.generate([question])
    assert answers[0].tokens == answers[1].tokens
    assert len(answers[0].tokens) >= 8
    inputs = build_inputs(out, samples, 200011)
    with torch.no_grad():
        logits = load_plain(out, torch.bfloat16)(
            input_ids=inputs.input_ids,
            audio_input_features=inputs.audio_input_features.bfloat16(),
            audio_embed_sizes=inputs.audio_embed_sizes,
            logits_to_keep=1,
        ).logits[0, -1]
    logprob = logits.float().log_softmax(-1)[answers[1].tokens[0]]
    assert answers[1].logprobs[0] == pytest.approx(float(logprob), abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["merge", "keep"])
def test_the_card_s_snippet_runs_and_its_config_builds_little_vision(original, tmp_path, mode):
    out = export(original, tmp_path / "out", mode)
    card = (out / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.S)
    assert "trust_remote_code" not in snippet
    soundfile.write(tmp_path / "recording.flac", np.sin(np.arange(24_000) / 20), 16_000)
    code = snippet.replace('"FOLDER"', repr(str(out))).replace("=256", "=3")
    done = subprocess.run(
        [sys.executable, "-c", code + "\nprint('tokens', answer.shape[1])"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tokens" in done.stdout
    assert "arXiv:2503.01743" in card
    assert f"{make_plan(ExportRequest(original, 'x')).checkpoint.stub_parameters:,}" in card


def test_tokenizer_and_feature_extractor_load_alone(original, tmp_path):
    from transformers import AutoFeatureExtractor, AutoTokenizer

    out = export(original, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.audio_token_id == 200011
    assert tokenizer.image_token_id == 200010
    extractor = AutoFeatureExtractor.from_pretrained(out)
    assert type(extractor).__name__ == "Phi4MultimodalFeatureExtractor"


def test_the_processor_loads_where_torchvision_is(original, tmp_path):
    pytest.importorskip("torchvision")
    from transformers import AutoProcessor

    out = export(original, tmp_path / "out")
    processor = AutoProcessor.from_pretrained(out)
    audio = np.sin(np.arange(16_000) / 20).astype(np.float32)
    prompt = f"<|user|>{processor.audio_token}Hello<|end|><|assistant|>"
    inputs = processor(text=prompt, audio=audio, sampling_rate=16_000, return_tensors="pt")
    assert (inputs["input_ids"] == 200011).sum() == inputs["audio_embed_sizes"].sum()


@pytest.mark.slow
def test_answers_are_compared(original, tmp_path):
    out = export(original, tmp_path / "out")
    source = open_checkpoint(original)
    inputs = build_inputs(out, np.sin(np.arange(24_000) / 20).astype(np.float32), 200011)
    found = compare_answers(source, out, inputs)
    assert found.tokens == 8
    assert found.same >= 7
    assert found.deviation < 0.2
    exact = export(original, tmp_path / "exact", dtype="float32")
    assert compare_answers(source, exact, inputs).deviation < 1e-4
    with pytest.raises(CheckpointError, match="its logits differ from the source's by"):
        compare_answers(replace(source, adapter=None, merge=False), out, inputs)

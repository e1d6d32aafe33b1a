import pytest
import torch
from safetensors.torch import load_file

from phi4audio_cli.checkpoint import checkpoint as checkpoint_module
from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.errors import CheckpointError
from tests.checkpoint.checkpoint_edits import edit_json, edit_weights, features_inputs

WEIGHTS = "model.safetensors"


def transformers_model(checkpoint, dtype=torch.float32):
    """Transformers' class with a stub for vision and the tensors of the checkpoint."""
    from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM

    config = Phi4MultimodalConfig(**checkpoint.config)
    config._attn_implementation = "eager"
    model = Phi4MultimodalForCausalLM(config).to(dtype).eval()
    loaded = model.load_state_dict(dict(checkpoint.tensors()), strict=False)
    assert not loaded.unexpected_keys
    assert all("vision" in k or "image" in k or k == "lm_head.weight" for k in loaded.missing_keys)
    return model


@pytest.mark.parametrize("clip", ["a", "b", "phone"])
def test_answers_equal_those_of_the_original_code(reference, clip):
    checkpoint = open_checkpoint(reference, dtype=torch.float32)
    model = transformers_model(checkpoint)
    truth = load_file(reference / "reference.safetensors")
    inputs = features_inputs(truth, clip)
    with torch.inference_mode():
        greedy = model.generate(**inputs, max_new_tokens=12, do_sample=False, eos_token_id=[])
        logits = model(**inputs, logits_to_keep=1).logits[0, -1]
    prompt = inputs["input_ids"].shape[1]
    assert greedy[0, prompt:].tolist() == truth[f"{clip}.greedy"].tolist()
    top = logits[truth[f"{clip}.last_logits_top_ids"].long()]
    torch.testing.assert_close(top, truth[f"{clip}.last_logits_top"], rtol=0, atol=1e-4)


def test_both_layouts_give_the_same_tensors(original, native, sharded):
    one, other, third = (open_checkpoint(folder) for folder in (original, native, sharded))
    assert (one.layout, other.layout) == ("original", "native")
    assert one.expected_shapes == other.expected_shapes == third.expected_shapes
    others = dict(other.tensors()), dict(third.tensors())
    for name, tensor in one.tensors():
        assert tensor.shape == one.expected_shapes[name]
        assert torch.equal(tensor, others[0][name])
        assert torch.equal(tensor, others[1][name])


def test_vision_tensors_are_skipped(original):
    checkpoint = open_checkpoint(original)
    names = [name for name, _ in checkpoint.tensors()]
    assert names == list(checkpoint.expected_shapes)
    assert not [name for name in names if "vision" in name or "image" in name or "lora" in name]
    assert checkpoint.audio_parameters == sum(
        tensor.numel() for name, tensor in checkpoint.tensors() if ".global_" not in name
    )


def test_a_stripped_checkpoint_is_read_unchanged(original):
    merged = dict(open_checkpoint(original).tensors())
    config = open_checkpoint(original).config
    edit_weights(original / WEIGHTS, lambda tensors: (tensors.clear(), tensors.update(merged)))
    (original / "config.json").unlink()
    (original / "config.json").write_text("{}")
    edit_json(original / "config.json", **config)
    checkpoint = open_checkpoint(original)
    assert (checkpoint.layout, checkpoint.adapter) == ("stripped", None)
    assert all(torch.equal(tensor, merged[name]) for name, tensor in checkpoint.tensors())


def test_keep_and_drop_give_the_base_weights(native):
    stored = load_file(native / WEIGHTS)
    for mode in ("keep", "drop"):
        checkpoint = open_checkpoint(native, speech_lora=mode)
        assert (checkpoint.adapter is None) == (mode == "drop")
        assert not checkpoint.merged_modules
        assert all(torch.equal(tensor, stored[name]) for name, tensor in checkpoint.tensors())


def test_dtype_is_applied_after_the_merge(original):
    narrow = dict(open_checkpoint(original).tensors())
    for name, wide in open_checkpoint(original, dtype=torch.float32).tensors():
        assert wide.dtype == torch.float32
        assert torch.equal(wide.bfloat16(), narrow[name])


def test_a_tied_head_may_be_stored_too(original):
    def store(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    before = open_checkpoint(original)
    edit_weights(original / WEIGHTS, store)
    checkpoint = open_checkpoint(original)
    assert checkpoint.expected_shapes == before.expected_shapes
    assert "lm_head.weight" in {info.name for info in checkpoint.skipped}


def test_an_untied_head_must_be_stored(original):
    edit_json(original / "config.json", tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight missing"):
        open_checkpoint(original)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.norm.weight"), r"model\.norm\.weight missing"),
        (
            lambda t: t.update({"model.extra.weight": torch.zeros(1)}),
            r"model\.extra\.weight in .*: the model has no such tensor",
        ),
        (
            lambda t: t.update({"model.norm.weight": torch.zeros(3)}),
            r"has the shape \[3\].* \[32\]",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named_before_any_is_read(
    original, monkeypatch, change, message
):
    edit_weights(original / WEIGHTS, change)
    monkeypatch.setattr(
        checkpoint_module, "read_tensor", lambda info: pytest.fail("a tensor was read")
    )
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(original)


def test_one_tensor_under_two_names_is_refused(original):
    name = "model.layers.0.mlp.down_proj"

    def double(tensors):
        tensors[f"{name}.weight"] = tensors[f"{name}.base_layer.weight"].clone()

    edit_weights(original / WEIGHTS, double)
    with pytest.raises(CheckpointError, match="is a second copy of"):
        open_checkpoint(original)


def test_a_missing_folder_and_a_missing_config_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"has no config.json"):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="isn't JSON"):
        open_checkpoint(tmp_path)

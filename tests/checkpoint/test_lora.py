import pytest
import torch

from phi4audio_cli.checkpoint import open_checkpoint
from phi4audio_cli.checkpoint.export import run_export
from phi4audio_cli.checkpoint.lora import read_peft_adapter
from phi4audio_cli.errors import CheckpointError
from tests.checkpoint.checkpoint_edits import edit_json, edit_weights
from tests.checkpoint.export_helpers import make_export_plan

ADAPTER = "speech-lora/adapter_model.safetensors"
SETTINGS = "speech-lora/adapter_config.json"
MODULE = "model.layers.1.mlp.down_proj"
PREFIX = "base_model.model."


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_merge_equals_that_of_peft(native_float32):
    from peft import PeftModel
    from transformers import Phi4MultimodalForCausalLM

    model = Phi4MultimodalForCausalLM.from_pretrained(native_float32, dtype=torch.float32)
    peft = PeftModel.from_pretrained(model, native_float32 / "speech-lora")
    merged = peft.merge_and_unload().state_dict()
    checkpoint = open_checkpoint(native_float32)
    assert len(checkpoint.merged_modules) == 8
    for name, tensor in checkpoint.tensors():
        torch.testing.assert_close(tensor, merged[name], rtol=0, atol=2e-6)
    base = dict(open_checkpoint(native_float32, speech_lora="drop").tensors())
    for module in checkpoint.merged_modules:
        assert not torch.allclose(base[f"{module}.weight"], merged[f"{module}.weight"], atol=1e-3)


def test_the_prefix_is_optional(native):
    with_prefix = read_peft_adapter(native / "speech-lora")

    def strip(tensors):
        for name in list(tensors):
            tensors[name.removeprefix(PREFIX)] = tensors.pop(name)

    edit_weights(native / ADAPTER, strip)
    assert read_peft_adapter(native / "speech-lora").pairs.keys() == with_prefix.pairs.keys()


def test_an_adapter_that_changes_nothing_is_refused(native):
    edit_weights(
        native / ADAPTER,
        lambda tensors: [t.zero_() for name, t in tensors.items() if "lora_B" in name],
    )
    with pytest.raises(CheckpointError, match=r"changes no weight.*lost its lora_B"):
        open_checkpoint(native)


def test_an_original_whose_lora_b_are_zero_is_refused(original):
    edit_weights(
        original / "model.safetensors",
        lambda tensors: [t.zero_() for name, t in tensors.items() if "lora_B.speech" in name],
    )
    with pytest.raises(CheckpointError, match="changes no weight"):
        open_checkpoint(original)


def test_one_module_of_zeros_is_accepted(native):
    edit_weights(
        native / ADAPTER, lambda tensors: tensors[f"{PREFIX}{MODULE}.lora_B.weight"].zero_()
    )
    assert open_checkpoint(native).adapter is not None


def test_another_rank_than_the_config_says_is_refused(native):
    edit_json(native / SETTINGS, r=7)
    with pytest.raises(CheckpointError, match="has the rank 6, but its config has 7"):
        open_checkpoint(native)


def test_another_rank_in_the_original_layout_is_refused(original):
    edit_json(original / "config.json", speech_lora={"r": 5, "lora_alpha": 12})
    with pytest.raises(CheckpointError, match=r"lora_A\.speech.* has the rank 6, .* has 5"):
        open_checkpoint(original)


def test_rank_and_alpha_are_read_from_the_files(native):
    edit_json(native / SETTINGS, lora_alpha=3)
    adapter = read_peft_adapter(native / "speech-lora")
    assert (adapter.rank, adapter.alpha, adapter.scale) == (6, 3.0, 0.5)
    edit_json(native / SETTINGS, use_rslora=True)
    assert read_peft_adapter(native / "speech-lora").scale == pytest.approx(3 / 6**0.5)


def test_half_a_pair_is_refused(native):
    edit_weights(native / ADAPTER, lambda tensors: tensors.pop(f"{PREFIX}{MODULE}.lora_A.weight"))
    with pytest.raises(CheckpointError, match=rf"other factor of the LoRA of {MODULE}"):
        open_checkpoint(native)


def test_a_module_left_out_is_refused(native):
    def leave_out(tensors):
        for half in "AB":
            del tensors[f"{PREFIX}{MODULE}.lora_{half}.weight"]

    edit_weights(native / ADAPTER, leave_out)
    with pytest.raises(CheckpointError, match=rf"lacks the LoRA of {MODULE}"):
        open_checkpoint(native)
    # A module that the config does not name may be missing.
    edit_json(native / SETTINGS, target_modules=["qkv_proj", "o_proj", "gate_up_proj"])
    assert len(open_checkpoint(native).merged_modules) == 7


def test_an_unknown_module_is_refused(native):
    def add(tensors):
        for half in "AB":
            name = f"{PREFIX}{MODULE}.lora_{half}.weight"
            tensors[name.replace("down_proj", "side_proj")] = tensors[name].clone()

    edit_weights(native / ADAPTER, add)
    with pytest.raises(CheckpointError, match=r"side_proj\.lora_A.* the model has no such module"):
        open_checkpoint(native)


def test_factors_of_another_model_are_refused(native):
    def widen(tensors):
        name = f"{PREFIX}{MODULE}.lora_A.weight"
        tensors[name] = torch.cat([tensors[name]] * 2, 1)

    edit_weights(native / ADAPTER, widen)
    with pytest.raises(CheckpointError, match="has an update of"):
        open_checkpoint(native)


@pytest.mark.parametrize(
    ("key", "value"),
    [("use_dora", True), ("peft_type", "IA3"), ("bias", "all"), ("rank_pattern", {"x": 3})],
)
def test_adapters_that_cannot_be_merged_are_refused(native, key, value):
    edit_json(native / SETTINGS, **{key: value})
    with pytest.raises(CheckpointError, match="speech-lora"):
        open_checkpoint(native)


def test_a_pickled_adapter_is_refused(native):
    (native / ADAPTER).rename(native / "speech-lora/adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"adapter_model\.bin: .*pickle"):
        open_checkpoint(native)


def test_a_missing_adapter_is_refused(native, original):
    (native / "speech-lora").rename(native / "elsewhere")
    with pytest.raises(CheckpointError, match=r"has no speech LoRA.*--adapter"):
        open_checkpoint(native)
    assert open_checkpoint(native, adapter=native / "elsewhere").adapter is not None

    def drop(tensors):
        for name in [name for name in tensors if ".speech.weight" in name and "lora" in name]:
            del tensors[name]

    edit_weights(original / "model.safetensors", drop)
    with pytest.raises(CheckpointError, match="has no speech LoRA"):
        open_checkpoint(original)


def test_the_adapter_option_replaces_the_checkpoint_s_own(original, native, tmp_path):
    edit_json(native / SETTINGS, lora_alpha=1)
    own = open_checkpoint(original)
    other = open_checkpoint(original, adapter=native / "speech-lora")
    name = f"{MODULE}.weight"
    assert (own.adapter.alpha, other.adapter.alpha) == (12.0, 1.0)
    assert not torch.equal(own.tensor(name), other.tensor(name))
    with pytest.raises(CheckpointError, match="no such adapter folder"):
        open_checkpoint(original, adapter=tmp_path / "nowhere")


@pytest.mark.parametrize("marked", [True, False])
def test_an_adapter_for_weights_with_a_merged_lora_is_refused(native, tmp_path, marked):
    run_export(make_export_plan(native), tmp_path / "out")
    if not marked:
        edit_json(tmp_path / "out" / "config.json", phi4audio=None)
    with pytest.raises(CheckpointError, match=r"out: .*second one.*leave out --adapter"):
        open_checkpoint(tmp_path / "out", adapter=native / "speech-lora")


def test_an_adapter_for_a_native_checkpoint_marked_as_merged_is_refused(native):
    edit_json(native / "config.json", phi4audio={"speech_lora": "merged"})
    with pytest.raises(CheckpointError, match="second one"):
        open_checkpoint(native, adapter=native / "speech-lora")


@pytest.mark.parametrize("mode", ["keep", "drop"])
def test_an_adapter_is_merged_once_into_an_export_without_a_merged_lora(native, tmp_path, mode):
    run_export(make_export_plan(native, mode), tmp_path / "out")
    checkpoint = open_checkpoint(tmp_path / "out", adapter=native / "speech-lora")
    expected = dict(open_checkpoint(native).tensors())
    assert all(torch.equal(tensor, expected[name]) for name, tensor in checkpoint.tensors())

"""The files of an export next to its weights: configuration, tokenizer, model card, licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi4audio_cli.checkpoint.checkpoint import Checkpoint
from phi4audio_cli.checkpoint.export_plan import ExportPlan
from phi4audio_cli.checkpoint.layout import ADAPTER_CONFIG, ADAPTER_FOLDER, EXPORT_KEY
from phi4audio_cli.checkpoint.lora import SpeechLora
from phi4audio_cli.checkpoint.model_card import MIT_LICENSE, model_card
from phi4audio_cli.checkpoint.safetensors_reader import read_json
from phi4audio_cli.checkpoint.safetensors_writer import write_json, write_text
from phi4audio_cli.errors import CheckpointError

COPIED_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "vocab.json",
)
LORA_STATES = {"merge": "merged", "keep": "kept", "drop": "dropped"}
DEFAULT_EOS_IDS = (200020, 199999)
"""`<|end|>` and `<|endoftext|>`, which end a generation by default."""

# The encoder has linear layers of the same names; only those of the decoder have the LoRA.
_DECODER_PREFIX = r"model\.layers\.\d+\."
_DROPPED_KEYS = ("_name_or_path", "auto_map", "transformers_version")


def write_sidecars(plan: ExportPlan, folder: Path) -> None:
    """Write configuration, tokenizer, feature extractor, model card and licence.

    Args:
        plan: Of the export.
        folder: The folder of its files.

    Raises:
        CheckpointError: A file of the source can't be used.
        OSError: A file can't be written.
    """
    source = plan.checkpoint.folder
    write_json(folder / "config.json", export_config(plan))
    write_json(folder / "generation_config.json", _generation_config(plan.checkpoint))
    write_json(folder / "preprocessor_config.json", _preprocessor_config(source))
    for name in COPIED_FILES:
        if (source / name).is_file():
            write_text(folder / name, (source / name).read_text(encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", _tokenizer_config(plan.checkpoint))
    licence = source / "LICENSE"
    text = licence.read_text(encoding="utf-8") if licence.is_file() else MIT_LICENSE
    write_text(folder / "LICENSE", text)
    write_text(folder / "README.md", model_card(plan))
    if (lora := plan.checkpoint.adapter) is not None and plan.adapter is not None:
        write_json(folder / ADAPTER_FOLDER / ADAPTER_CONFIG, _adapter_config(lora))


def check_sidecars(folder: Path) -> None:
    """Check that the source has the tokenizer and configurations of an export.

    Raises:
        CheckpointError: The tokenizer is missing, or a file isn't JSON.
    """
    read_json(folder / "tokenizer.json")
    read_json(folder / "tokenizer_config.json")
    _preprocessor_config(folder)


def export_config(plan: ExportPlan) -> dict[str, Any]:
    """Return `config.json` of the export, which records the state of the speech LoRA."""
    config = {
        key: value for key, value in plan.checkpoint.config.items() if key not in _DROPPED_KEYS
    }
    separate = plan.checkpoint.adapter is not None or plan.mode == "drop"
    return {**config, EXPORT_KEY: {"speech_lora": LORA_STATES[plan.mode] if separate else "merged"}}


def _generation_config(checkpoint: Checkpoint) -> dict[str, Any]:
    file = checkpoint.folder / "generation_config.json"
    found = read_json(file) if file.is_file() else {}
    # With the first key, transformers takes the end tokens from config.json, which has only one.
    for key in ("_from_model_config", "transformers_version"):
        found.pop(key, None)
    for key in ("bos_token_id", "pad_token_id"):
        found.setdefault(key, checkpoint.config.get(key))
    found.setdefault("eos_token_id", list(DEFAULT_EOS_IDS))
    return found


def _preprocessor_config(folder: Path) -> dict[str, Any]:
    file = folder / "preprocessor_config.json"
    found = read_json(file) if file.is_file() else {}
    found.pop("auto_map", None)
    return {
        **found,
        "feature_extractor_type": "Phi4MultimodalFeatureExtractor",
        "image_processor_type": "Phi4MultimodalImageProcessor",
        "processor_class": "Phi4MultimodalProcessor",
    }


def _tokenizer_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the source's configuration with the placeholders' names in transformers' processor."""
    found = read_json(checkpoint.folder / "tokenizer_config.json")
    found.pop("auto_map", None)
    audio = checkpoint.config["audio_config"].get("audio_token_id", 200011)
    image = checkpoint.config["vision_config"].get("image_token_id", 200010)
    spelling = _special_token_texts(checkpoint.folder)
    for key, token_id in (("audio_token", audio), ("image_token", image)):
        if token_id in spelling:
            found.setdefault(key, spelling[token_id])
    found["processor_class"] = "Phi4MultimodalProcessor"
    return found


def _special_token_texts(folder: Path) -> dict[int, str]:
    """Return the texts of a tokenizer's special tokens by id; the layouts differ in them."""
    tokens = read_json(folder / "tokenizer.json").get("added_tokens") or []
    try:
        return {int(token["id"]): str(token["content"]) for token in tokens}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError("its added_tokens are damaged", str(folder)) from error


def _adapter_config(lora: SpeechLora) -> dict[str, Any]:
    tails = sorted({module.split(".", 3)[-1] for module in lora.pairs})
    names = "|".join(tail.replace(".", r"\.") for tail in tails)
    return {
        "base_model_name_or_path": None,
        "bias": "none",
        "inference_mode": True,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": lora.rank,
        "target_modules": f"{_DECODER_PREFIX}({names})",
        "task_type": "CAUSAL_LM",
        "use_rslora": lora.rank_stabilized,
    }

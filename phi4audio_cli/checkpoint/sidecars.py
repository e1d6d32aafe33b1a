"""The files of an export beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi4audio_cli.checkpoint.card import LICENCE, model_card
from phi4audio_cli.checkpoint.config import MARK
from phi4audio_cli.checkpoint.names import ADAPTER_CONFIG, ADAPTER_FOLDER
from phi4audio_cli.checkpoint.plan import ExportPlan
from phi4audio_cli.checkpoint.shards import read_json
from phi4audio_cli.checkpoint.stream import Checkpoint
from phi4audio_cli.checkpoint.writer import write_json, write_text
from phi4audio_cli.errors import CheckpointError

COPIED = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "vocab.json",
)
PAST_TENSE = {"merge": "merged", "keep": "kept", "drop": "dropped"}
ENDS = (200020, 199999)
"""`<|end|>` and `<|endoftext|>`: where generation stops, should the source not say."""

# One of several linears of the same names: only the decoder's take the LoRA.
_DECODER = r"model\.layers\.\d+\."
_NOT_FOR_AN_EXPORT = ("_name_or_path", "auto_map", "transformers_version")


def write_sidecars(plan: ExportPlan, folder: Path) -> None:
    """Writes configuration, tokenizer, feature extractor, model card and licence.

    Args:
        plan: Of the export.
        folder: Its folder.

    Raises:
        CheckpointError: A file of the source can't be used.
        OSError: A file can't be written.
    """
    source = plan.checkpoint.folder
    write_json(folder / "config.json", export_config(plan))
    write_json(folder / "generation_config.json", _generation_config(plan.checkpoint))
    write_json(folder / "preprocessor_config.json", _preprocessor_config(source))
    for name in COPIED:
        if (source / name).is_file():
            write_text(folder / name, (source / name).read_text(encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", _tokenizer_config(plan.checkpoint))
    licence = source / "LICENSE"
    text = licence.read_text(encoding="utf-8") if licence.is_file() else LICENCE
    write_text(folder / "LICENSE", text)
    write_text(folder / "README.md", model_card(plan))
    if plan.adapter is not None:
        write_json(folder / ADAPTER_FOLDER / ADAPTER_CONFIG, _adapter_config(plan.checkpoint))


def check_sidecars(folder: Path) -> None:
    """Checks that the source has what an export needs beside the weights.

    Raises:
        CheckpointError: The tokenizer is missing, or a file isn't JSON.
    """
    read_json(folder / "tokenizer.json")
    read_json(folder / "tokenizer_config.json")
    _preprocessor_config(folder)


def export_config(plan: ExportPlan) -> dict[str, Any]:
    """`config.json` of the export; says what became of the speech LoRA."""
    config = {
        key: value for key, value in plan.checkpoint.config.items() if key not in _NOT_FOR_AN_EXPORT
    }
    apart = plan.checkpoint.adapter is not None or plan.mode == "drop"
    return {**config, MARK: {"speech_lora": PAST_TENSE[plan.mode] if apart else "merged"}}


def _generation_config(checkpoint: Checkpoint) -> dict[str, Any]:
    file = checkpoint.folder / "generation_config.json"
    found = read_json(file) if file.is_file() else {}
    # The first one lets transformers make it anew from config.json, which knows one end only.
    for key in ("_from_model_config", "transformers_version"):
        found.pop(key, None)
    for key in ("bos_token_id", "pad_token_id"):
        found.setdefault(key, checkpoint.config.get(key))
    found.setdefault("eos_token_id", list(ENDS))
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
    """The source's, with the placeholders under the names transformers' processor asks for."""
    found = read_json(checkpoint.folder / "tokenizer_config.json")
    found.pop("auto_map", None)
    audio = checkpoint.config["audio_config"].get("audio_token_id", 200011)
    image = checkpoint.config["vision_config"].get("image_token_id", 200010)
    spelling = placeholder_spelling(checkpoint.folder)
    for key, token_id in (("audio_token", audio), ("image_token", image)):
        if token_id in spelling:
            found.setdefault(key, spelling[token_id])
    found["processor_class"] = "Phi4MultimodalProcessor"
    return found


def placeholder_spelling(folder: Path) -> dict[int, str]:
    """How a tokenizer spells its special tokens, by id: the layouts differ in it."""
    tokens = read_json(folder / "tokenizer.json").get("added_tokens") or []
    try:
        return {int(token["id"]): str(token["content"]) for token in tokens}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError("its added_tokens are damaged", str(folder)) from error


def _adapter_config(checkpoint: Checkpoint) -> dict[str, Any]:
    lora = checkpoint.adapter
    assert lora is not None
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
        "target_modules": f"{_DECODER}({names})",
        "task_type": "CAUSAL_LM",
        "use_rslora": lora.rank_stabilized,
    }
